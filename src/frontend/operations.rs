//! The operations that exist, each handed to its family. What is not here answers NotImplemented.
//!
//! Must never hold logic: a verified, typed request comes in, its family's function answers.

use std::sync::Arc;

use async_trait::async_trait;
use s3s::{S3, S3Request, S3Response, S3Result, dto};

use super::{
    buckets, complete, copy, copy_part, delete, list, list_uploads, list_v1, multipart, objects, parts, put,
};
use crate::commit::Commit;

/// Everything the operations need.
pub(super) struct Operations {
    pub(super) commit: Arc<Commit>,
    pub(super) limits: Limits,
}

/// What requests are measured against.
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

impl Operations {
    pub(super) fn new(commit: Arc<Commit>, limits: Limits) -> Self {
        Self { commit, limits }
    }
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
    head_bucket(HeadBucketInput) -> HeadBucketOutput: buckets::head;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput: buckets::location;
    list_buckets(ListBucketsInput) -> ListBucketsOutput: buckets::list;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output: list::objects;
    list_objects(ListObjectsInput) -> ListObjectsOutput: list_v1::objects;
    put_object(PutObjectInput) -> PutObjectOutput: put::object.await;
    get_object(GetObjectInput) -> GetObjectOutput: objects::get.await;
    head_object(HeadObjectInput) -> HeadObjectOutput: objects::head.await;
    copy_object(CopyObjectInput) -> CopyObjectOutput: copy::object.await;
    delete_object(DeleteObjectInput) -> DeleteObjectOutput: delete::object.await;
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput: delete::objects.await;
    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput:
        multipart::begin.await;
    upload_part(UploadPartInput) -> UploadPartOutput: parts::upload.await;
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput: copy_part::upload.await;
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput:
        complete::upload.await;
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput: multipart::abort.await;
    list_parts(ListPartsInput) -> ListPartsOutput: parts::list;
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput: list_uploads::list;
}
