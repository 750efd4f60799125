//! Authorization: what each operation needs, and whether a principal may.
//!
//! Decided once for each request, by the gate (`auth.rs`), before its operation is looked at: from the bucket
//! that the router uses, and from the bucket that a copy's source names. Must never ask whether something
//! exists, and never allow an operation that has no row here.

use std::sync::Arc;

use http::HeaderMap;
use s3s::dto::CopySource;
use s3s::path::S3Path;
use s3s::{S3Error, S3ErrorCode, s3_error};
use tidings_replication::MARKER;

use crate::config::credentials::{Credential, Scope};

/// Who a verified request comes from, and what it may do. Handlers need one, and only the gate makes one.
#[derive(Debug, Clone)]
pub(crate) struct Principal {
    name: Arc<str>,
    hops: u8,
    credential: Arc<Credential>,
    /// The bucket that a copy may read from.
    source: Option<Arc<str>>,
}

impl Principal {
    /// Decides. `path` is what the router goes by: decoded once, its bucket's name legal.
    pub(super) fn admit(
        access_key: Arc<str>,
        credential: Arc<Credential>,
        operation: &str,
        path: &S3Path,
        headers: &HeaderMap,
    ) -> Result<Self, S3Error> {
        let needed = scope_of(operation).ok_or(S3ErrorCode::NotImplemented)?;
        // Whoever could say what a replica is could make any version of anything.
        let marked = headers.keys().any(|name| name.as_str().starts_with(MARKER));
        if marked && needed != Scope::Replication {
            return Err(denied());
        }
        let allowed = match path.get_bucket_name() {
            Some(bucket) => credential.may(needed, bucket),
            // Only lists of buckets have none, and they show what the principal may see.
            None => operation == "ListBuckets" && credential.scope.allows(needed),
        };
        if !allowed {
            return Err(denied());
        }
        let is_copy = matches!(operation, "CopyObject" | "UploadPartCopy");
        let source = match is_copy {
            true => Some(source_of(headers)?).filter(|b| credential.covers(b)),
            false => None,
        };
        if source.is_none() && is_copy {
            return Err(denied());
        }
        let (name, hops) = match &credential.acting {
            Some(acting) => (Arc::clone(acting.name()), acting.hops()),
            None => (access_key, 0),
        };
        Ok(Self { name, hops, credential, source })
    }

    /// The access key whose secret signed the request; of a function's role, `function:` and its name.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// How many runs of functions led to the request: 0 for a client's own.
    pub(crate) fn hops(&self) -> u8 {
        self.hops
    }

    /// True if a list of buckets may show this one.
    pub(super) fn sees(&self, bucket: &str) -> bool {
        self.credential.covers(bucket)
    }

    /// Refuses a copy from any other bucket than the one that was decided on.
    pub(super) fn copies_from(&self, bucket: &str) -> Result<(), S3Error> {
        if self.source.as_deref() == Some(bucket) { Ok(()) } else { Err(denied()) }
    }
}

/// The same answer whether or not anything is there.
fn denied() -> S3Error {
    S3Error::with_message(S3ErrorCode::AccessDenied, "Access Denied")
}

/// The bucket that a copy reads from: parsed as the operation's own input is.
fn source_of(headers: &HeaderMap) -> Result<Arc<str>, S3Error> {
    let header =
        headers.get("x-amz-copy-source").and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
    match header.map(CopySource::parse) {
        Some(Ok(CopySource::Bucket { bucket, .. })) => Ok(bucket.into()),
        Some(Ok(_)) => Err(s3_error!(NotImplemented, "Not implemented: copies from an access point")),
        _ => Err(s3_error!(InvalidArgument, "x-amz-copy-source must be BUCKET/KEY, percent-encoded")),
    }
}

/// The least scope that an operation needs; none: no such operation. All that the router knows have a row,
/// whether or not they are implemented.
pub(super) fn scope_of(operation: &str) -> Option<Scope> {
    let of = |(scope, operations): &(Scope, &[&str])| operations.contains(&operation).then_some(*scope);
    SCOPES.iter().find_map(of)
}

/// Every operation, by the scope that it needs.
const SCOPES: [(Scope, &[&str]); 5] = [
    (Scope::Read, READS),
    (Scope::Write, WRITES),
    (Scope::Admin, SETTINGS),
    // Between two servers.
    (Scope::Replication, &["ReplicateObject"]),
    (Scope::Pull, &["PullReplica"]),
];

#[rustfmt::skip]
const READS: &[&str] = &[
    "ListBuckets", "ListDirectoryBuckets", "HeadBucket", "HeadObject", "GetObject", "GetObjectAcl",
    "GetObjectAttributes", "GetObjectLegalHold", "GetObjectLockConfiguration", "GetObjectRetention",
    "GetObjectTagging", "GetObjectTorrent", "SelectObjectContent", "ListMultipartUploads",
    "ListObjectVersions", "ListObjects", "ListObjectsV2", "ListParts", "GetBucketAccelerateConfiguration",
    "GetBucketAcl", "GetBucketAnalyticsConfiguration", "GetBucketCors", "GetBucketEncryption",
    "GetBucketIntelligentTieringConfiguration", "GetBucketInventoryConfiguration",
    "GetBucketLifecycleConfiguration", "GetBucketLocation", "GetBucketLogging",
    "GetBucketMetadataTableConfiguration", "GetBucketMetricsConfiguration",
    "GetBucketNotificationConfiguration", "GetBucketOwnershipControls", "GetBucketPolicy",
    "GetBucketPolicyStatus", "GetBucketReplication", "GetBucketRequestPayment", "GetBucketTagging",
    "GetBucketVersioning", "GetBucketWebsite", "GetPublicAccessBlock", "ListBucketAnalyticsConfigurations",
    "ListBucketIntelligentTieringConfigurations", "ListBucketInventoryConfigurations",
    "ListBucketMetricsConfigurations",
];

#[rustfmt::skip]
const WRITES: &[&str] = &[
    "PutObject", "PostObject", "CopyObject", "DeleteObject", "DeleteObjects", "RestoreObject",
    "CreateMultipartUpload", "UploadPart", "UploadPartCopy", "CompleteMultipartUpload",
    "AbortMultipartUpload", "PutObjectAcl", "PutObjectTagging", "DeleteObjectTagging", "PutObjectLegalHold",
    "PutObjectRetention",
];

#[rustfmt::skip]
const SETTINGS: &[&str] = &[
    "CreateBucket", "DeleteBucket", "CreateSession", "CreateBucketMetadataTableConfiguration",
    "DeleteBucketAnalyticsConfiguration", "DeleteBucketCors", "DeleteBucketEncryption",
    "DeleteBucketIntelligentTieringConfiguration", "DeleteBucketInventoryConfiguration",
    "DeleteBucketLifecycle", "DeleteBucketMetadataTableConfiguration", "DeleteBucketMetricsConfiguration",
    "DeleteBucketOwnershipControls", "DeleteBucketPolicy", "DeleteBucketReplication", "DeleteBucketTagging",
    "DeleteBucketWebsite", "DeletePublicAccessBlock", "PutBucketAccelerateConfiguration", "PutBucketAcl",
    "PutBucketAnalyticsConfiguration", "PutBucketCors", "PutBucketEncryption",
    "PutBucketIntelligentTieringConfiguration", "PutBucketInventoryConfiguration",
    "PutBucketLifecycleConfiguration", "PutBucketLogging", "PutBucketMetricsConfiguration",
    "PutBucketNotificationConfiguration", "PutBucketOwnershipControls", "PutBucketPolicy",
    "PutBucketReplication", "PutBucketRequestPayment", "PutBucketTagging", "PutBucketVersioning",
    "PutBucketWebsite", "PutObjectLockConfiguration", "PutPublicAccessBlock",
    // Not of the router's. Who reads the document may read what an origin wants to see.
    "PutBucketOrigin", "GetBucketOrigin", "DeleteBucketOrigin",
];
