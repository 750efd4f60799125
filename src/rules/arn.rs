//! Names of destinations in notification configurations, and what they mean here.
//!
//! ```text
//! arn:tidings:sqs:REGION:ACCOUNT:NAME               a target, in a QueueConfiguration
//! arn:tidings:sns:REGION:ACCOUNT:NAME               a target, in a TopicConfiguration
//! arn:tidings:lambda:REGION:ACCOUNT:function:NAME   a function, in a CloudFunctionConfiguration
//! ```
//!
//! `aws` and `aws-cn` may stand for `tidings`, the account may be any number or nothing, and `function:` may
//! be left out. Must never guess: what is not of this form is refused.

use std::sync::Arc;

use super::names::Names;
use super::refused::Refused;

/// Who may be asked for: other object stores' tools know these.
const PARTITIONS: [&str; 3] = ["tidings", "aws", "aws-cn"];
/// The longest name of a target or function, in bytes.
const MAX_NAME: usize = 64;
/// The most digits of an account.
const MAX_ACCOUNT: usize = 20;
/// What the name of a function's own target begins with.
pub(super) const FUNCTION: &str = "function:";
/// What an endpoint begins with.
const KAFKA: &str = "kafka://";
/// What may stand behind a function's name: there is one version at work at a time.
const QUALIFIERS: [&str; 2] = ["$LATEST", "$DEFAULT"];

/// The three kinds of configuration that a rule of a bucket may stand in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Form {
    /// `CloudFunctionConfiguration`: triggers of functions.
    #[serde(rename = "l")]
    Function,
    /// `QueueConfiguration`.
    #[serde(rename = "q")]
    Queue,
    /// `TopicConfiguration`.
    #[serde(rename = "t")]
    Topic,
}

impl Form {
    /// The service in its ARNs.
    fn service(self) -> &'static str {
        match self {
            Form::Function => "lambda",
            Form::Queue => "sqs",
            Form::Topic => "sns",
        }
    }

    /// For people and programs.
    pub fn label(self) -> &'static str {
        match self {
            Form::Function => "function",
            Form::Queue => "queue",
            Form::Topic => "topic",
        }
    }
}

/// The ARN of a function of ours.
pub fn arn_of_function(name: &str, region: &str, account: &str) -> String {
    format!("arn:tidings:lambda:{region}:{account}:function:{name}")
}

/// The function that a target's name is of: what a trigger of it names.
pub fn function_of(target: &str) -> &str {
    target.strip_prefix(FUNCTION).unwrap_or(target)
}

/// The name of the target that `text` means in a configuration of this form.
///
/// In a `TopicConfiguration`, what does not begin with `arn:` is the name of a Kafka topic, as COS has it;
/// its `endpoint`, `kafka://HOST:PORT`, says which of two that have one name.
///
/// # Errors
/// The ARN is malformed, of another region, or names nobody whom this form can reach; the endpoint is
/// none, or none of who writes to the topic.
pub(super) fn resolve<'a>(
    text: &str,
    form: Form,
    endpoint: &str,
    region: &str,
    names: &'a Names,
) -> Result<&'a Arc<str>, Refused> {
    let unknown = || Refused::UnknownDestination(text.to_owned());
    let wrong = || Refused::Endpoint(endpoint.to_owned());
    let broker = match endpoint {
        "" => None,
        some => Some(some.strip_prefix(KAFKA).ok_or_else(wrong)?),
    };
    if form == Form::Topic && !text.starts_with("arn:") {
        let found = names.of_topic(text, broker);
        return found.ok_or_else(|| if broker.is_some() { wrong() } else { unknown() });
    }
    // An ARN says all.
    if broker.is_some() {
        return Err(wrong());
    }
    let name = parse(text, form, region)?;
    match form {
        Form::Function => names.function(name),
        Form::Queue | Form::Topic => {
            let found = names.entry(name).filter(|(_, named)| named.region.is_none());
            found.map(|(name, _)| name).ok_or_else(unknown)
        }
    }
}

fn parse<'a>(text: &'a str, form: Form, region: &str) -> Result<&'a str, Refused> {
    let malformed = || Refused::MalformedArn(text.to_owned());
    let mut parts = text.splitn(6, ':');
    let mut part = || parts.next().ok_or_else(malformed);
    let (arn, partition, service) = (part()?, part()?, part()?);
    let (of, account, rest) = (part()?, part()?, part()?);
    let known = arn == "arn" && PARTITIONS.contains(&partition) && service == form.service();
    let number = account.len() <= MAX_ACCOUNT && account.bytes().all(|b| b.is_ascii_digit());
    if !known || !number || of.is_empty() {
        return Err(malformed());
    }
    let name = match form {
        Form::Function => {
            let rest = rest.strip_prefix(FUNCTION).unwrap_or(rest);
            let (name, qualifier) = rest.split_once(':').unwrap_or((rest, QUALIFIERS[0]));
            if !QUALIFIERS.contains(&qualifier) {
                return Err(malformed());
            }
            name
        }
        Form::Queue | Form::Topic => rest,
    };
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(legal) {
        return Err(malformed());
    }
    match of == region {
        true => Ok(name),
        false => Err(Refused::WrongRegion { asked: of.to_owned(), here: region.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::names::Named;
    use super::*;
    use crate::queue::TargetNo;
    use crate::rules::KafkaTopic;

    fn names() -> Names {
        let mut names = Names::default();
        let add = |names: &mut Names, name: &str, n, invokes, topic: Option<&str>| {
            names.add(
                &name.into(),
                Named {
                    target: TargetNo(n),
                    invokes,
                    tested: true,
                    topic: topic.map(|name| KafkaTopic {
                        name: name.into(),
                        brokers: vec![format!("broker-{n}:9092")],
                    }),
                    region: None,
                },
            );
        };
        add(&mut names, "orders", 1, false, Some("events"));
        add(&mut names, "audit", 2, false, Some("shared"));
        add(&mut names, "again", 3, false, Some("shared"));
        add(&mut names, "Thumb_1", 4, true, None);
        add(&mut names, "function:both", 5, true, None);
        add(&mut names, "both", 6, false, None);
        names
    }

    #[test]
    fn every_spelling_of_a_destination_means_its_target() {
        let names = names();
        for (text, form, name) in [
            ("arn:tidings:sqs:here::orders", Form::Queue, "orders"),
            ("arn:aws:sqs:here:123456789012:orders", Form::Queue, "orders"),
            ("arn:aws:sns:here:1250000000:orders", Form::Topic, "orders"),
            ("arn:aws-cn:lambda:here:1:function:Thumb_1", Form::Function, "Thumb_1"),
            ("arn:aws:lambda:here:1:Thumb_1", Form::Function, "Thumb_1"),
            ("arn:tidings:lambda:here::function:Thumb_1:$LATEST", Form::Function, "Thumb_1"),
            ("arn:tidings:sqs:here::Thumb_1", Form::Queue, "Thumb_1"),
            ("events", Form::Topic, "orders"),
            ("arn:aws:lambda:here:1:function:both", Form::Function, "function:both"),
            ("arn:aws:sqs:here:1:both", Form::Queue, "both"),
        ] {
            assert_eq!(&**resolve(text, form, "", "here", &names).expect(text), name, "{text}");
        }
    }

    #[test]
    fn what_names_nobody_is_refused_for_its_own_reason() {
        let names = names();
        let why = |text: &str, form| resolve(text, form, "", "here", &names).expect_err(text);
        for (text, form) in [
            ("orders", Form::Queue),
            ("arn:tidings:sns:here::orders", Form::Queue),
            ("arn:tidings:sqs:here::orders", Form::Function),
            ("arn:tidings:sqs:here:x:orders", Form::Queue),
            ("arn:minio:sqs:here:1:orders", Form::Queue),
            ("ARN:tidings:sqs:here::orders", Form::Queue),
            ("arn:tidings:sqs:::orders", Form::Queue),
            ("arn:tidings:sqs:here::", Form::Queue),
            ("arn:tidings:sqs:here::or ders", Form::Queue),
            ("arn:tidings:sqs:here::a:b", Form::Queue),
            ("arn:tidings:lambda:here::function:Thumb_1:3", Form::Function),
            ("arn:tidings:sqs:here", Form::Queue),
            ("", Form::Queue),
        ] {
            assert!(matches!(why(text, form), Refused::MalformedArn(_)), "{text}");
        }
        assert!(matches!(why("arn:aws:sqs:there::orders", Form::Queue), Refused::WrongRegion { .. }));
        assert!(matches!(why("arn:aws:sqs:here::nobody", Form::Queue), Refused::UnknownDestination(_)));
        assert!(matches!(why("arn:aws:lambda:here::orders", Form::Function), Refused::NoFunction(_)));
        assert!(matches!(why("nothing", Form::Topic), Refused::UnknownDestination(_)));
        assert!(matches!(why("shared", Form::Topic), Refused::UnknownDestination(_)), "two write to it");
    }
    #[test]
    fn an_endpoint_says_which_of_two_topics_is_meant_and_must_be_one_of_its_brokers() {
        let names = names();
        let at = |text: &str, endpoint: &str| resolve(text, Form::Topic, endpoint, "here", &names);
        for (endpoint, name) in [("kafka://broker-2:9092", "audit"), ("kafka://BROKER-3:9092", "again")] {
            assert_eq!(&**at("shared", endpoint).expect(endpoint), name);
        }
        assert_eq!(&**at("events", "kafka://broker-1:9092").expect("its own"), "orders");
        for (text, endpoint) in [
            ("shared", "kafka://broker-1:9092"),
            ("events", "broker-1:9092"),
            ("events", "kafka://"),
            ("events", "kafka://broker-1:9092,broker-9:9092"),
            ("arn:aws:sns:here:1:orders", "kafka://broker-1:9092"),
        ] {
            assert_eq!(at(text, endpoint), Err(Refused::Endpoint(endpoint.into())), "{text} {endpoint}");
        }
    }
}
