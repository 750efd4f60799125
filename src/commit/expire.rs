//! Which uploads are ended because their time is over: those that nobody completed, and those that were and
//! need not be remembered any more.
//!
//! Must never end one that could still be completed: it is asked again under the upload's lock.

use std::time::Duration;

use super::{Commit, CommitError};
use crate::store::Upload;

/// A completed upload is remembered for so long: a repeated completion gets the same answer.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// Uploads looked at in one go.
const RUN: usize = 256;

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
                if is_over(upload) && self.expire_upload(upload.begun.id, is_over).await? {
                    ended += 1;
                }
            }
            match run.last() {
                Some(last) if run.len() == RUN => after = Some(last.begun.id),
                _ => return Ok(ended),
            }
        }
    }
}
