//! Ends of uploads that no client asked for: of those that nobody completed in time, that were completed and
//! need not be remembered any more, and whose bucket goes.
//!
//! Must never end one that could still be completed: it is asked again under the upload's lock.

use std::sync::Arc;
use std::time::Duration;

use super::detached::Detached;
use super::{Commit, CommitError, Inner};
use crate::queue::{Change, NewUpload, Permit, UploadChange};
use crate::store::Upload;

/// A completed upload is remembered for so long: a repeated completion gets the same answer.
pub const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// Uploads looked at in one go.
const RUN: usize = 256;
/// Uploads ended in one go when their bucket goes.
const END_RUN: usize = 100;

impl Commit {
    /// Ends every upload that is over at `now_us` (microseconds since the Unix epoch): open ones older than
    /// `expiry`, and done ones that need not be remembered. Gives how many.
    pub async fn expire_uploads(&self, expiry: Duration, now_us: i64) -> Result<usize, CommitError> {
        let before =
            |age: Duration| now_us.saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX));
        let (open_before, done_before) = (before(expiry), before(REMEMBERED));
        let is_over = move |upload: &Upload| match &upload.done {
            None => upload.begun.time_us < open_before,
            Some(done) => done.time_us < done_before,
        };
        let (mut after, mut ended) = (None, 0);
        loop {
            let run = self.store().oldest_uploads(after, RUN)?;
            for upload in &run {
                // Ids sort by beginning, and nothing ends before its beginning.
                if upload.begun.time_us >= open_before.max(done_before) {
                    return Ok(ended);
                }
                if is_over(upload) && self.expire_upload(&upload.begun, is_over).await? {
                    ended += 1;
                }
            }
            match run.last() {
                Some(last) if run.len() == RUN => after = Some(last.begun.id),
                _ => return Ok(ended),
            }
        }
    }

    /// Ends an upload whose time is over: `is_over` is asked again when nobody else can change it.
    async fn expire_upload(
        &self,
        begun: &NewUpload,
        is_over: impl Fn(&Upload) -> bool + Send + 'static,
    ) -> Result<bool, CommitError> {
        let permit = self.inner.queue.reserve_setting().await?;
        let (inner, upload, bucket) = (Arc::clone(&self.inner), begun.id, Arc::clone(&begun.bucket));
        Detached::new(async move {
            // A bucket that goes ends its uploads by itself: ended twice, one would be counted away twice.
            let _bucket = inner.bucket_lock(&bucket).read().await;
            let _upload = inner.upload_lock(upload).write().await;
            let Some(over) = inner.store.upload(upload)?.filter(|upload| is_over(upload)) else {
                return Ok(false);
            };
            inner.end_upload(permit, &over).await.map(|()| true)
        })
        .await
    }
}

impl Inner {
    /// Ends an upload, open or remembered, whose lock or whose bucket's lock the caller has alone.
    pub(super) async fn end_upload(&self, permit: Permit, upload: &Upload) -> Result<(), CommitError> {
        let end = UploadChange::End(upload.begun.id);
        self.append_setting(permit, Change::Upload(end)).await?;
        if upload.done.is_none() {
            self.open_uploads.end(&upload.begun.owner);
        }
        Ok(())
    }

    /// Ends every open upload of a bucket whose lock the caller has alone.
    pub(super) async fn end_uploads_of(&self, bucket: &str) -> Result<(), CommitError> {
        loop {
            let uploads = self.store.uploads(bucket, "", None, END_RUN)?;
            if uploads.is_empty() {
                return Ok(());
            }
            for upload in uploads {
                let permit = self.queue.reserve_setting().await?;
                self.end_upload(permit, &upload).await?;
            }
        }
    }
}
