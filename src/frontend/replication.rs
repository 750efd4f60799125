//! `?replication` of a bucket, as both families ask for it: which of its objects go to which bucket of which
//! peer. Who the peers are is the operator's.
//!
//! Must never take a rule whose words would be passed over, nor one of a bucket whose versions have no names.

use std::collections::HashSet;

use s3s::dto::{
    DeleteBucketReplicationInput, DeleteBucketReplicationOutput, DeleteMarkerReplication,
    DeleteMarkerReplicationStatus, Destination, GetBucketReplicationInput, GetBucketReplicationOutput,
    PutBucketReplicationInput, PutBucketReplicationOutput, ReplicationConfiguration,
    ReplicationRule as Document, ReplicationRuleFilter, ReplicationRuleStatus,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::buckets::{existing, set};
use super::operations::Operations;
use crate::queue::Setting;
use crate::rules::{Names, Replication, ReplicationRule};
use crate::store::Versioning;

/// The most rules of a bucket.
const MAX_RULES: usize = 1_000;
/// The longest name, prefix or role, in bytes.
const MAX_TEXT: usize = 1_024;
/// What a destination's class may be: replicas have that of their objects.
const CLASSES: [&str; 2] = ["STANDARD", "Standard"];

/// Sets a bucket's rules in place of any before.
pub(super) async fn put(
    operations: &Operations,
    req: S3Request<PutBucketReplicationInput>,
) -> S3Result<S3Response<PutBucketReplicationOutput>> {
    let found = existing(operations, &req, &req.input.bucket)?;
    if found.versioning() != Versioning::Enabled {
        let text = "Versioning must be 'Enabled' on the bucket to apply a replication configuration.";
        return Err(S3Error::with_message(S3ErrorCode::InvalidRequest, text));
    }
    let names = operations.commit.reachable();
    let reading = Reading { names: &names, here: &operations.limits.region };
    let rules = reading.document(req.input.replication_configuration, || operations.commit.new_rule_id())?;
    set(operations, &req.input.bucket, Setting::Replication, Some(rules.setting())).await?;
    Ok(S3Response::new(PutBucketReplicationOutput::default()))
}

/// Shows them.
pub(super) fn get(
    operations: &Operations,
    req: S3Request<GetBucketReplicationInput>,
) -> S3Result<S3Response<GetBucketReplicationOutput>> {
    let found = existing(operations, &req, &req.input.bucket)?;
    let value = found.setting(Setting::Replication).ok_or_else(not_set)?;
    let rules = Replication::of_setting(value).map_err(|_| S3ErrorCode::InternalError)?;
    let replication_configuration = Some(ReplicationConfiguration {
        role: rules.role,
        rules: rules.rules.into_iter().map(shown).collect(),
    });
    Ok(S3Response::new(GetBucketReplicationOutput { replication_configuration }))
}

/// Takes them away.
pub(super) async fn delete(
    operations: &Operations,
    req: S3Request<DeleteBucketReplicationInput>,
) -> S3Result<S3Response<DeleteBucketReplicationOutput>> {
    existing(operations, &req, &req.input.bucket)?;
    set(operations, &req.input.bucket, Setting::Replication, None).await?;
    Ok(S3Response::new(DeleteBucketReplicationOutput::default()))
}

fn not_set() -> S3Error {
    let code = S3ErrorCode::Custom("ReplicationConfigurationNotFoundError".into());
    let mut error = S3Error::with_message(code, "The replication configuration was not found");
    error.set_status_code(http::StatusCode::NOT_FOUND);
    error
}

fn shown(rule: ReplicationRule) -> Document {
    let status = |on: bool| if on { "Enabled" } else { "Disabled" };
    let prefix = Some(rule.prefix);
    let (filter, prefix) = match rule.filter {
        true => (Some(ReplicationRuleFilter { prefix, ..Default::default() }), None),
        false => (None, prefix),
    };
    let markers = DeleteMarkerReplicationStatus::from_static(status(rule.markers));
    Document {
        delete_marker_replication: Some(DeleteMarkerReplication { status: Some(markers) }),
        destination: Destination {
            access_control_translation: None,
            account: None,
            bucket: rule.destination,
            encryption_configuration: None,
            metrics: None,
            replication_time: None,
            storage_class: None,
        },
        existing_object_replication: None,
        filter,
        id: Some(rule.id),
        prefix,
        priority: rule.priority,
        source_selection_criteria: None,
        status: ReplicationRuleStatus::from_static(status(rule.enabled)),
    }
}

/// What a document is read by.
struct Reading<'a> {
    names: &'a Names,
    here: &'a str,
}

impl Reading<'_> {
    fn document(
        &self,
        document: ReplicationConfiguration,
        mut new_id: impl FnMut() -> String,
    ) -> S3Result<Replication> {
        let ReplicationConfiguration { role, rules } = document;
        if !(1..=MAX_RULES).contains(&rules.len()) || role.len() > MAX_TEXT {
            return Err(S3ErrorCode::MalformedXML.into());
        }
        let rules =
            rules.into_iter().map(|rule| self.rule(rule, &mut new_id)).collect::<S3Result<Vec<_>>>()?;
        let mut ids = HashSet::new();
        if !rules.iter().all(|rule| ids.insert(&rule.id)) {
            return Err(s3_error!(InvalidArgument, "Two rules have one ID."));
        }
        let of_one = |rule: &ReplicationRule| {
            rules.iter().all(|other| other.target != rule.target || other.bucket == rule.bucket)
        };
        match rules.iter().all(of_one) {
            true => Ok(Replication { role, rules }),
            false => Err(s3_error!(NotImplemented, "Not implemented: two buckets of one region")),
        }
    }

    fn rule(&self, document: Document, new_id: &mut impl FnMut() -> String) -> S3Result<ReplicationRule> {
        let not =
            |what: &str| Err(s3_error!(NotImplemented, "Not implemented: {what} of a replication rule"));
        let existing =
            document.existing_object_replication.is_some_and(|wanted| wanted.status.as_str() == "Enabled");
        if existing {
            return not("ExistingObjectReplication");
        }
        if document.source_selection_criteria.is_some() {
            return not("SourceSelectionCriteria");
        }
        let to = document.destination;
        let extras = to.access_control_translation.is_some()
            || to.account.is_some()
            || to.encryption_configuration.is_some()
            || to.metrics.is_some()
            || to.replication_time.is_some();
        if extras || to.storage_class.is_some_and(|class| !CLASSES.contains(&class.as_str())) {
            return not("a Destination with more than a bucket");
        }
        let filter = document.filter.is_some();
        let prefix = match document.filter {
            Some(filter) if filter.and.is_some() || filter.tag.is_some() => {
                return not("And or Tag in a Filter");
            }
            Some(filter) => filter.prefix,
            None => document.prefix,
        };
        let (prefix, id) = (prefix.unwrap_or_default(), document.id.unwrap_or_default());
        if prefix.len() > MAX_TEXT || id.len() > MAX_TEXT {
            return Err(s3_error!(InvalidArgument, "A prefix or an ID is too long."));
        }
        let markers = match document.delete_marker_replication.and_then(|markers| markers.status) {
            Some(status) => on(status.as_str())?,
            // As COS and S3's first documents have it; those with a filter say it.
            None => !filter,
        };
        let (bucket, target) = self.destination(&to.bucket)?;
        Ok(ReplicationRule {
            id: if id.is_empty() { new_id() } else { id },
            enabled: on(document.status.as_str())?,
            prefix,
            filter,
            priority: document.priority,
            markers,
            destination: to.bucket,
            bucket,
            target,
        })
    }

    /// The bucket that a destination means, and the target that replicates there:
    /// `qcs::cos:REGION::BUCKET`, `arn:aws:s3:REGION::BUCKET`, or `arn:aws:s3:::BUCKET` where there is one
    /// peer alone.
    fn destination(&self, text: &str) -> S3Result<(String, String)> {
        let parts = match text.strip_prefix("qcs::cos:") {
            Some(rest) => rest.split_once("::"),
            None => {
                let rest = text.strip_prefix("arn:").and_then(|rest| rest.split_once(":s3:"));
                let rest = rest.and_then(|(_, rest)| rest.split_once(':'));
                rest.and_then(|(region, rest)| Some((region, rest.split_once(':')?.1)))
            }
        };
        let legal = |(_, bucket): &(&str, &str)| s3s::path::check_bucket_name(bucket);
        let (region, bucket) = parts.filter(legal).ok_or_else(|| {
            s3_error!(
                InvalidArgument,
                "A destination is qcs::cos:REGION::BUCKET or arn:aws:s3:REGION::BUCKET."
            )
        })?;
        if region == self.here {
            return Err(s3_error!(InvalidArgument, "A destination must be in another region."));
        }
        let mut peers = self.names.replicating().filter(|(_, of)| region.is_empty() || ***of == *region);
        match (peers.next(), peers.next()) {
            (Some((target, _)), None) => Ok((bucket.to_owned(), target.to_string())),
            (Some(_), Some(_)) => {
                Err(s3_error!(InvalidArgument, "Several targets replicate there: name the region of one."))
            }
            (None, _) => Err(s3_error!(
                InvalidArgument,
                "No target replicates to region '{region}': the operator adds one to the configuration."
            )),
        }
    }
}

fn on(status: &str) -> S3Result<bool> {
    match status {
        "Enabled" => Ok(true),
        "Disabled" => Ok(false),
        _ => Err(S3ErrorCode::MalformedXML.into()),
    }
}
