//! The operations that exist, each handed to its family. What is not here answers NotImplemented.
//!
//! Must never hold logic: a verified, typed request comes in, its family's function answers.

use std::sync::Arc;

use async_trait::async_trait;
use s3s::{S3, S3Request, S3Response, S3Result, dto};

use super::pull::Pulls;
use super::{
    acls, attributes, buckets, complete, copy, copy_part, cors, delete, list, list_uploads, list_v1,
    list_versions, multipart, notification, objects, parts, put, replication, restore, tagging, unset,
    versioning,
};
use crate::commit::Commit;

/// Everything the operations need.
#[derive(Clone)]
pub(super) struct Operations {
    pub(super) commit: Arc<Commit>,
    pub(super) limits: Limits,
    pub(super) pulls: Arc<Pulls>,
}

/// What requests are measured against.
#[derive(Clone)]
pub(super) struct Limits {
    /// Bodies up to this many bytes travel in their record.
    pub(super) inline_bytes: u64,
    /// The largest object of one PUT, in bytes.
    pub(super) max_object_bytes: u64,
    /// The smallest part that is not an upload's last one, in bytes.
    pub(super) min_part_bytes: u64,
    /// Ours.
    pub(super) region: String,
    /// The owner of every bucket.
    pub(super) account: String,
}

/// One row for each operation: its name in the protocol, what comes in, what goes out, and who answers.
macro_rules! answered {
    ($(
        $operation:ident($input:ident) -> $output:ident:
            $family:ident::$function:ident $(.$wait:ident)?;
    )*) => {
        #[async_trait]
        impl S3 for Operations {
            $(async fn $operation(
                &self,
                req: S3Request<dto::$input>,
            ) -> S3Result<S3Response<dto::$output>> {
                $family::$function(self, req)$(.$wait)?
            })*
        }
    };
}

answered! {
    create_bucket(CreateBucketInput) -> CreateBucketOutput: buckets::create.await;
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput: buckets::delete.await;
    put_bucket_versioning(PutBucketVersioningInput) -> PutBucketVersioningOutput: versioning::put.await;
    get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput: versioning::get;
    head_bucket(HeadBucketInput) -> HeadBucketOutput: buckets::head;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput: buckets::location;
    list_buckets(ListBucketsInput) -> ListBucketsOutput: buckets::list;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output: list::objects;
    list_objects(ListObjectsInput) -> ListObjectsOutput: list_v1::objects;
    list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput: list_versions::list;
    put_object(PutObjectInput) -> PutObjectOutput: put::object.await;
    get_object(GetObjectInput) -> GetObjectOutput: objects::get.await;
    head_object(HeadObjectInput) -> HeadObjectOutput: objects::head.await;
    get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput: attributes::get.await;
    copy_object(CopyObjectInput) -> CopyObjectOutput: copy::object.await;
    delete_object(DeleteObjectInput) -> DeleteObjectOutput: delete::object.await;
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput: delete::objects.await;
    restore_object(RestoreObjectInput) -> RestoreObjectOutput: restore::object.await;
    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput:
        multipart::begin.await;
    upload_part(UploadPartInput) -> UploadPartOutput: parts::upload.await;
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput: copy_part::upload.await;
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput:
        complete::upload.await;
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput: multipart::abort.await;
    list_parts(ListPartsInput) -> ListPartsOutput: parts::list;
    get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput: tagging::get;
    put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput: tagging::put.await;
    delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput: tagging::delete.await;
    get_bucket_tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput: tagging::get_bucket;
    put_bucket_tagging(PutBucketTaggingInput) -> PutBucketTaggingOutput: tagging::put_bucket.await;
    delete_bucket_tagging(DeleteBucketTaggingInput) -> DeleteBucketTaggingOutput:
        tagging::delete_bucket.await;
    get_bucket_cors(GetBucketCorsInput) -> GetBucketCorsOutput: cors::get;
    put_bucket_cors(PutBucketCorsInput) -> PutBucketCorsOutput: cors::put.await;
    delete_bucket_cors(DeleteBucketCorsInput) -> DeleteBucketCorsOutput: cors::delete.await;
    get_bucket_notification_configuration(GetBucketNotificationConfigurationInput)
        -> GetBucketNotificationConfigurationOutput: notification::get;
    put_bucket_notification_configuration(PutBucketNotificationConfigurationInput)
        -> PutBucketNotificationConfigurationOutput: notification::put.await;
    get_object_acl(GetObjectAclInput) -> GetObjectAclOutput: acls::get_object;
    put_object_acl(PutObjectAclInput) -> PutObjectAclOutput: acls::put_object;
    get_bucket_acl(GetBucketAclInput) -> GetBucketAclOutput: acls::get_bucket;
    put_bucket_acl(PutBucketAclInput) -> PutBucketAclOutput: acls::put_bucket;
    get_bucket_policy(GetBucketPolicyInput) -> GetBucketPolicyOutput: unset::policy;
    get_bucket_policy_status(GetBucketPolicyStatusInput) -> GetBucketPolicyStatusOutput: unset::policy_status;
    get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput)
        -> GetBucketLifecycleConfigurationOutput: unset::lifecycle;
    get_bucket_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput: unset::encryption;
    get_object_lock_configuration(GetObjectLockConfigurationInput) -> GetObjectLockConfigurationOutput:
        unset::object_lock;
    get_object_retention(GetObjectRetentionInput) -> GetObjectRetentionOutput: unset::retention;
    get_object_legal_hold(GetObjectLegalHoldInput) -> GetObjectLegalHoldOutput: unset::legal_hold;
    get_public_access_block(GetPublicAccessBlockInput) -> GetPublicAccessBlockOutput:
        unset::public_access_block;
    get_bucket_website(GetBucketWebsiteInput) -> GetBucketWebsiteOutput: unset::website;
    get_bucket_replication(GetBucketReplicationInput) -> GetBucketReplicationOutput: replication::get;
    put_bucket_replication(PutBucketReplicationInput) -> PutBucketReplicationOutput: replication::put.await;
    delete_bucket_replication(DeleteBucketReplicationInput) -> DeleteBucketReplicationOutput:
        replication::delete.await;
    get_bucket_accelerate_configuration(GetBucketAccelerateConfigurationInput)
        -> GetBucketAccelerateConfigurationOutput: unset::accelerate;
    get_bucket_logging(GetBucketLoggingInput) -> GetBucketLoggingOutput: unset::logging;
    get_bucket_request_payment(GetBucketRequestPaymentInput) -> GetBucketRequestPaymentOutput:
        unset::request_payment;
    get_bucket_ownership_controls(GetBucketOwnershipControlsInput) -> GetBucketOwnershipControlsOutput:
        unset::ownership;
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput: list_uploads::list;
}
