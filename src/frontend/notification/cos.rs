//! COS's own document of a notification configuration: topics of Kafka, with words about their broker that S3
//! has no element for.
//!
//! Must never take an element that it does not know, and never a password: who connects, and as whom, is the
//! operator's to say.

use http::HeaderValue;
use http::header::CONTENT_TYPE;
use s3s::dto::{LambdaFunctionConfiguration, NotificationConfigurationFilter, QueueConfiguration};
use s3s::xml::{DeError, DeResult, Deserializer, Serializer};
use s3s::{Body, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::{MAX_BYTES, events, filter, function, of_function, of_queue, queue, refused, rule, set};
use crate::frontend::context::Caller;
use crate::frontend::operations::Operations;
use crate::frontend::{errors, headers};
use crate::rules::{Broker, Form, Notification, PutRule, Refused};

const ROOT: &str = "NotificationConfiguration";
const FUNCTION: &str = "CloudFunctionConfiguration";
const QUEUE: &str = "QueueConfiguration";
const TOPIC: &str = "TopicConfiguration";

/// Sets a bucket's configuration in place of any before. COS has no test event, so nobody is told.
pub(in crate::frontend) async fn put(
    operations: &Operations,
    mut req: S3Request<Body>,
    bucket: &str,
) -> S3Result<S3Response<Body>> {
    let caller = Caller::of(&req.extensions)?;
    headers::only_known(&req.headers, &[])?;
    if caller.context.claim.length.is_none_or(|length| length > MAX_BYTES) {
        return Err(s3_error!(InvalidRequest, "The notification configuration is limited to 1 MiB."));
    }
    let document = req.input.store_all_limited(usize::try_from(MAX_BYTES).unwrap_or(usize::MAX)).await;
    let document = document.map_err(|_| S3ErrorCode::IncompleteBody)?;
    if document.is_empty() {
        return Err(S3ErrorCode::MissingRequestBodyError.into());
    }
    set(operations, &caller, bucket, rules_of(&document)?, false).await?;
    Ok(S3Response::new(Body::empty()))
}

/// Shows a bucket's configuration.
pub(in crate::frontend) fn get(operations: &Operations, bucket: &str) -> S3Result<S3Response<Body>> {
    let rules = operations.commit.rules_of(bucket).map_err(errors::of_commit)?;
    let mut answer = S3Response::new(Body::from(document(&rules).ok_or(S3ErrorCode::InternalError)?));
    answer.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    Ok(answer)
}

/// The rules of a document, in its order.
fn rules_of(document: &[u8]) -> S3Result<Vec<PutRule>> {
    let mut d = Deserializer::new(document);
    let (mut rules, mut secret) = (Vec::new(), false);
    let read = d.named_element(ROOT, |d| {
        d.for_each_element(|d, name| {
            rules.push(match name {
                name if name == FUNCTION.as_bytes() => {
                    of_function(d.content::<LambdaFunctionConfiguration>()?)
                }
                name if name == QUEUE.as_bytes() => of_queue(d.content::<QueueConfiguration>()?),
                name if name == TOPIC.as_bytes() => topic(d, &mut secret)?,
                _ => return Err(DeError::UnexpectedTagName),
            });
            Ok(())
        })
    });
    read.and_then(|()| d.expect_eof()).map_err(|_| S3ErrorCode::MalformedXML)?;
    if secret {
        return Err(refused(Refused::Secret));
    }
    Ok(rules)
}

fn topic(d: &mut Deserializer<'_>, secret: &mut bool) -> DeResult<PutRule> {
    let (mut id, mut to, mut kafka, mut endpoint) = (None, None, None, None);
    let (mut user, mut password) = (None, None);
    let mut filter: Option<NotificationConfigurationFilter> = None;
    let mut events = Vec::new();
    d.for_each_element(|d, name| {
        let place = match name {
            b"Event" => {
                events.push(d.content()?);
                return Ok(());
            }
            b"Filter" => {
                let again = filter.replace(d.content()?);
                return if again.is_none() { Ok(()) } else { Err(DeError::DuplicateField) };
            }
            b"Id" => &mut id,
            b"Topic" => &mut to,
            b"KafkaID" => &mut kafka,
            b"Endpoint" => &mut endpoint,
            b"User" => &mut user,
            b"Password" => &mut password,
            _ => return Err(DeError::UnexpectedTagName),
        };
        let again = place.replace(d.content::<String>()?);
        if again.is_none() { Ok(()) } else { Err(DeError::DuplicateField) }
    })?;
    *secret |= [user, password].into_iter().flatten().any(|text| !text.is_empty());
    let broker = Broker { id: kafka.unwrap_or_default(), endpoint: endpoint.unwrap_or_default() };
    let rule = rule(Form::Topic, id, to.ok_or(DeError::MissingField)?, &events, filter);
    Ok(PutRule { broker: Some(broker), ..rule })
}

/// The document of these rules; none: it cannot be written.
fn document(rules: &Notification) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut s = Serializer::new(&mut out);
    s.decl().ok()?;
    let written = s.element(ROOT, |s| {
        for rule in rules.rules() {
            match rule.form {
                Form::Function => s.content(FUNCTION, &function(rule))?,
                Form::Queue => s.content(QUEUE, &queue(rule))?,
                Form::Topic => s.element(TOPIC, |s| {
                    s.content("Id", &rule.id)?;
                    s.flattened_list("Event", &events(rule))?;
                    if let Some(filter) = filter(rule) {
                        s.content("Filter", &filter)?;
                    }
                    s.content("Topic", &rule.to)?;
                    for (name, text) in [("KafkaID", &rule.broker.id), ("Endpoint", &rule.broker.endpoint)] {
                        if !text.is_empty() {
                            s.content(name, text)?;
                        }
                    }
                    Ok(())
                })?,
            }
        }
        Ok(())
    });
    written.ok().map(|()| out)
}
