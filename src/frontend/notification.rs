//! A bucket's notification configuration: put, checked, and shown as it was put. COS's document is in
//! `notification/cos.rs`; the rules are the same.
//!
//! Must never take a word that it does not understand, and never show a rule other than it was written.

use s3s::dto::{
    Event, FilterRule, FilterRuleName, GetBucketNotificationConfigurationInput,
    GetBucketNotificationConfigurationOutput, LambdaFunctionConfiguration, NotificationConfiguration,
    NotificationConfigurationFilter, PutBucketNotificationConfigurationInput,
    PutBucketNotificationConfigurationOutput, QueueConfiguration, S3KeyFilter, TopicConfiguration,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::buckets::existing;
use super::context::Caller;
use super::operations::Operations;
use super::{errors, headers};
use crate::rules::{Around, BucketRule, Form, PutRule, Refused};

pub(super) mod cos;

/// The largest document, in bytes.
const MAX_BYTES: u64 = 1 << 20;
/// What a record takes beside the words of its rules, and each rule beside its own, in bytes.
const RECORD_BYTES: usize = 512;
/// Says that nobody shall be asked or told.
const SKIP: &str = "x-amz-skip-destination-validation";

/// Sets a bucket's configuration in place of any before; without a rule it takes it away.
pub(super) async fn put(
    operations: &Operations,
    req: S3Request<PutBucketNotificationConfigurationInput>,
) -> S3Result<S3Response<PutBucketNotificationConfigurationOutput>> {
    let caller = Caller::of(&req.extensions)?;
    headers::only_known(&req.headers, &[SKIP])?;
    headers::expected_owner(&req.headers, &operations.limits.account)?;
    if caller.context.claim.length.is_none_or(|length| length > MAX_BYTES) {
        return Err(s3_error!(InvalidRequest, "The notification configuration is limited to 1 MiB."));
    }
    let input = req.input;
    let put = rules_of(input.notification_configuration)?;
    let told = !input.skip_destination_validation.unwrap_or(false)
        && put.iter().any(|rule| rule.form != Form::Function);
    set(operations, &caller, &input.bucket, put, told).await?;
    Ok(S3Response::new(PutBucketNotificationConfigurationOutput::default()))
}

/// Puts these rules in place of any before. `told`: targets get a test event.
async fn set(
    operations: &Operations,
    caller: &Caller,
    bucket: &str,
    put: Vec<PutRule>,
    told: bool,
) -> S3Result<()> {
    let commit = &operations.commit;
    let bytes = RECORD_BYTES + put.iter().map(bytes_of).sum::<usize>();
    let permit = match put.is_empty() {
        // Possible where the disk is too full for more.
        true => commit.reserve_removal(RECORD_BYTES).await,
        false => commit.reserve(bytes).await,
    };
    let permit = permit.map_err(errors::of_commit)?;
    let announce = match told {
        true => Some(commit.announce(caller.request_info()).await.map_err(errors::of_commit)?),
        false => None,
    };
    let (names, region, ids) = (commit.reachable(), operations.limits.region.clone(), commit.clone());
    let change = move |now: &crate::rules::Notification| {
        let around = Around { region: &region, names: &names };
        now.replaced_by(put, around, || ids.new_rule_id()).map(|next| (next, ()))
    };
    let changed = commit.change_rules(permit, bucket, change, announce).await;
    changed.map_err(errors::of_commit)?.map_err(refused)
}

/// Shows a bucket's configuration, triggers of functions with it.
pub(super) fn get(
    operations: &Operations,
    req: S3Request<GetBucketNotificationConfigurationInput>,
) -> S3Result<S3Response<GetBucketNotificationConfigurationOutput>> {
    let bucket = existing(operations, &req, &req.input.bucket)?;
    let rules = operations.commit.rules_of(&bucket.name).map_err(errors::of_commit)?;
    let of = |form| rules.rules().iter().filter(move |rule| rule.form == form);
    let functions = of(Form::Function).map(function);
    let queues = of(Form::Queue).map(queue);
    let topics = of(Form::Topic).map(|rule| TopicConfiguration {
        events: events(rule),
        filter: filter(rule),
        id: Some(rule.id.clone()),
        topic_arn: rule.to.clone(),
    });
    Ok(S3Response::new(GetBucketNotificationConfigurationOutput {
        event_bridge_configuration: None,
        lambda_function_configurations: some(functions.collect()),
        queue_configurations: some(queues.collect()),
        topic_configurations: some(topics.collect()),
    }))
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

fn function(rule: &BucketRule) -> LambdaFunctionConfiguration {
    let (events, filter, id) = (events(rule), filter(rule), Some(rule.id.clone()));
    LambdaFunctionConfiguration { events, filter, id, lambda_function_arn: rule.to.clone() }
}

fn queue(rule: &BucketRule) -> QueueConfiguration {
    let (events, filter, id) = (events(rule), filter(rule), Some(rule.id.clone()));
    QueueConfiguration { events, filter, id, queue_arn: rule.to.clone() }
}

fn events(rule: &BucketRule) -> Vec<Event> {
    rule.events.iter().cloned().map(Event::from).collect()
}

fn filter(rule: &BucketRule) -> Option<NotificationConfigurationFilter> {
    let rules = rule.filter.iter().map(|(name, value)| FilterRule {
        name: Some(FilterRuleName::from(name.clone())),
        value: Some(value.clone()),
    });
    let filter_rules = some(rules.collect())?;
    Some(NotificationConfigurationFilter { key: Some(S3KeyFilter { filter_rules: Some(filter_rules) }) })
}

/// The rules of a document, as they stand in it.
fn rules_of(configuration: NotificationConfiguration) -> S3Result<Vec<PutRule>> {
    let NotificationConfiguration {
        event_bridge_configuration,
        lambda_function_configurations,
        queue_configurations,
        topic_configurations,
    } = configuration;
    if event_bridge_configuration.is_some() {
        return Err(s3_error!(NotImplemented, "Not implemented: EventBridge; name a target or a function"));
    }
    let functions = lambda_function_configurations.unwrap_or_default().into_iter().map(of_function);
    let queues = queue_configurations.unwrap_or_default().into_iter().map(of_queue);
    let topics = topic_configurations.unwrap_or_default().into_iter();
    let topics = topics.map(|c| rule(Form::Topic, c.id, c.topic_arn, &c.events, c.filter));
    Ok(functions.chain(queues).chain(topics).collect())
}

fn of_function(c: LambdaFunctionConfiguration) -> PutRule {
    rule(Form::Function, c.id, c.lambda_function_arn, &c.events, c.filter)
}

fn of_queue(c: QueueConfiguration) -> PutRule {
    rule(Form::Queue, c.id, c.queue_arn, &c.events, c.filter)
}

fn rule(
    form: Form,
    id: Option<String>,
    to: String,
    events: &[Event],
    filter: Option<NotificationConfigurationFilter>,
) -> PutRule {
    let rules = filter.and_then(|filter| filter.key).and_then(|key| key.filter_rules);
    let filter = rules.unwrap_or_default().into_iter().map(|rule| {
        let name = rule.name.map(|name| name.as_str().to_owned());
        (name.unwrap_or_default(), rule.value.unwrap_or_default())
    });
    let events = events.iter().map(|event| event.as_ref().to_owned()).collect();
    PutRule { id, form, to, events, filter: filter.collect(), broker: None }
}

/// What a rule takes in its record, in bytes: more than it does, but for texts full of quotes.
fn bytes_of(rule: &PutRule) -> usize {
    let filter = rule.filter.iter().map(|(name, value)| name.len() + value.len() + 8);
    let events = rule.events.iter().map(|event| event.len() + 4);
    let broker = rule.broker.as_ref().map_or(0, |broker| broker.id.len() + broker.endpoint.len() + 32);
    128 + broker
        + rule.id.as_ref().map_or(0, String::len)
        + 2 * rule.to.len()
        + filter.chain(events).sum::<usize>()
}

fn refused(why: Refused) -> S3Error {
    match why {
        Refused::NoEvent => S3ErrorCode::MalformedXML.into(),
        other => S3Error::with_message(S3ErrorCode::InvalidArgument, other.to_string()),
    }
}
