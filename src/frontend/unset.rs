//! What tools ask of a bucket on their way and what is never set here: each gets the answer that says so in
//! the words that it waits for.
//!
//! Must never claim a protection, a rule or a copy that is not there.

use http::StatusCode;
use s3s::dto;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::buckets::existing;
use super::operations::Operations;

/// The error that says that something is not configured.
fn not_set(code: &'static str, message: &'static str) -> S3Error {
    let code = S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or(S3ErrorCode::Custom(code.into()));
    let mut error = S3Error::with_message(code, message);
    error.set_status_code(StatusCode::NOT_FOUND);
    error
}

macro_rules! never_set {
    ($($operation:ident($input:ident) -> $output:ident: $code:literal, $message:literal;)*) => {
        $(pub(super) fn $operation(
            operations: &Operations,
            req: S3Request<dto::$input>,
        ) -> S3Result<S3Response<dto::$output>> {
            existing(operations, &req, &req.input.bucket)?;
            Err(not_set($code, $message))
        })*
    };
}

never_set! {
    policy(GetBucketPolicyInput) -> GetBucketPolicyOutput:
        "NoSuchBucketPolicy", "The bucket policy does not exist";
    policy_status(GetBucketPolicyStatusInput) -> GetBucketPolicyStatusOutput:
        "NoSuchBucketPolicy", "The bucket policy does not exist";
    lifecycle(GetBucketLifecycleConfigurationInput) -> GetBucketLifecycleConfigurationOutput:
        "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist";
    encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput:
        "ServerSideEncryptionConfigurationNotFoundError",
        "The server side encryption configuration was not found";
    object_lock(GetObjectLockConfigurationInput) -> GetObjectLockConfigurationOutput:
        "ObjectLockConfigurationNotFoundError", "Object Lock configuration does not exist for this bucket";
    retention(GetObjectRetentionInput) -> GetObjectRetentionOutput:
        "NoSuchObjectLockConfiguration", "The specified object does not have a ObjectLock configuration";
    legal_hold(GetObjectLegalHoldInput) -> GetObjectLegalHoldOutput:
        "NoSuchObjectLockConfiguration", "The specified object does not have a ObjectLock configuration";
    public_access_block(GetPublicAccessBlockInput) -> GetPublicAccessBlockOutput:
        "NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found";
    website(GetBucketWebsiteInput) -> GetBucketWebsiteOutput:
        "NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration";
}

/// Nothing makes uploads faster.
pub(super) fn accelerate(
    operations: &Operations,
    req: S3Request<dto::GetBucketAccelerateConfigurationInput>,
) -> S3Result<S3Response<dto::GetBucketAccelerateConfigurationOutput>> {
    existing(operations, &req, &req.input.bucket)?;
    Ok(S3Response::new(dto::GetBucketAccelerateConfigurationOutput::default()))
}

/// No requests are logged into a bucket.
pub(super) fn logging(
    operations: &Operations,
    req: S3Request<dto::GetBucketLoggingInput>,
) -> S3Result<S3Response<dto::GetBucketLoggingOutput>> {
    existing(operations, &req, &req.input.bucket)?;
    Ok(S3Response::new(dto::GetBucketLoggingOutput::default()))
}

/// Whoever has the bucket pays.
pub(super) fn request_payment(
    operations: &Operations,
    req: S3Request<dto::GetBucketRequestPaymentInput>,
) -> S3Result<S3Response<dto::GetBucketRequestPaymentOutput>> {
    existing(operations, &req, &req.input.bucket)?;
    let payer = Some(dto::Payer::from_static(dto::Payer::BUCKET_OWNER));
    Ok(S3Response::new(dto::GetBucketRequestPaymentOutput { payer }))
}

/// Whoever has the bucket has its objects, and no list says otherwise.
pub(super) fn ownership(
    operations: &Operations,
    req: S3Request<dto::GetBucketOwnershipControlsInput>,
) -> S3Result<S3Response<dto::GetBucketOwnershipControlsOutput>> {
    existing(operations, &req, &req.input.bucket)?;
    let object_ownership = dto::ObjectOwnership::from_static(dto::ObjectOwnership::BUCKET_OWNER_ENFORCED);
    let rules = vec![dto::OwnershipControlsRule { object_ownership }];
    let ownership_controls = Some(dto::OwnershipControls { rules });
    Ok(S3Response::new(dto::GetBucketOwnershipControlsOutput { ownership_controls }))
}
