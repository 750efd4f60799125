//! The store as those see it who serve reads.
//!
//! Must never do more than pass on.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;

use super::{EmbeddedStore, blob_writer, body};
use crate::event::VersionId;
use crate::queue::{NewPart, Piece, Restore, UploadId};
use crate::store::{
    BlobWriter, BodyStream, Bucket, DueRestore, Object, ObjectVersion, RegisteredTarget, Restores, Store,
    StoreError, Upload, UploadsAfter, VersionsAfter,
};

#[async_trait]
impl Store for EmbeddedStore {
    fn bucket(&self, name: &str) -> Result<Option<Bucket>, StoreError> {
        self.shared.bucket(name)
    }

    fn buckets(&self) -> Result<Vec<Bucket>, StoreError> {
        self.shared.buckets()
    }

    fn object(&self, bucket: &str, key: &str) -> Result<Option<Object>, StoreError> {
        self.shared.object(bucket, key)
    }

    fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<Object>, StoreError> {
        self.shared.list(bucket, prefix, after, max)
    }

    fn version(
        &self,
        bucket: &str,
        key: &str,
        id: Option<VersionId>,
    ) -> Result<Option<ObjectVersion>, StoreError> {
        self.shared.version(bucket, key, id)
    }

    fn versions(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&VersionsAfter>,
        max: usize,
    ) -> Result<Vec<ObjectVersion>, StoreError> {
        self.shared.versions(bucket, prefix, after, max)
    }

    async fn read(&self, object: &Object, range: Range<u64>) -> Result<BodyStream, StoreError> {
        body::read(&self.shared, object, range).await
    }

    async fn new_blob(&self) -> Result<Box<dyn BlobWriter>, StoreError> {
        Ok(Box::new(blob_writer::Writer::create(self.shared.blobs.clone()).await?))
    }

    async fn pieces(&self, object: &Object) -> Result<Vec<Piece>, StoreError> {
        body::pieces(&self.shared, object).await
    }

    fn upload(&self, id: UploadId) -> Result<Option<Upload>, StoreError> {
        self.shared.upload(id)
    }

    fn parts(&self, id: UploadId, after: u16, max: usize) -> Result<Vec<Arc<NewPart>>, StoreError> {
        self.shared.parts(id, after, max)
    }

    fn uploads(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&UploadsAfter>,
        max: usize,
    ) -> Result<Vec<Upload>, StoreError> {
        self.shared.uploads(bucket, prefix, after, max)
    }

    fn oldest_uploads(&self, after: Option<UploadId>, max: usize) -> Result<Vec<Upload>, StoreError> {
        self.shared.oldest_uploads(after, max)
    }

    fn targets(&self) -> Result<Vec<RegisteredTarget>, StoreError> {
        self.shared.targets()
    }
}

impl Restores for EmbeddedStore {
    fn restore(&self, bucket: &str, key: &str, of: u64) -> Result<Option<Restore>, StoreError> {
        self.shared.restore(bucket, key, of)
    }

    fn due_restores(
        &self,
        after: Option<&DueRestore>,
        until_us: i64,
        max: usize,
    ) -> Result<Vec<DueRestore>, StoreError> {
        self.shared.due_restores(after, until_us, max)
    }
}
