//! A fetch in its place among all that may run at once. It belongs to nobody: clients wait for it or go away.
//!
//! Must never keep a place longer than its fetch, nor let anybody wait for one that has ended.

use std::sync::Arc;

use tidings_origin::{FetchError, Fetched, Fetcher};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::failure::Failure;
use super::going::{At, Begun, Job, Outcome, Told};
use super::{Pull, Pulled, Pulls};
use crate::store::Bucket;

impl Pulls {
    /// Waits until the object is here.
    pub(super) async fn mirrored(self: &Arc<Self>, pull: Pull) -> Outcome {
        let mut told = self.begin(pull, false)?;
        match told.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Err(Failure::Internal)),
            // It ended with the server, or by a bug.
            Err(_) => Err(if self.ended.is_cancelled() { Failure::Busy } else { Failure::Internal }),
        }
    }

    /// Begins a fetch, or joins the one that is going on. No client that goes away ends it.
    pub(super) fn begin(self: &Arc<Self>, pull: Pull, may_wait: bool) -> Result<Told, Failure> {
        let begun = self.going().begin(pull, may_wait);
        match begun {
            Begun::Joins(told) | Begun::Waits(told) => Ok(told),
            Begun::Starts(job, told) => {
                self.start(*job);
                Ok(told)
            }
            Begun::Full => {
                self.count(Pulled::Refused);
                Err(Failure::Busy)
            }
        }
    }

    /// Fetches what has its place already.
    fn start(self: &Arc<Self>, job: Job) {
        let Job { pull, tell } = job;
        let place = Place {
            pulls: Arc::clone(self),
            bucket: Arc::clone(&pull.bucket),
            at: Some((Arc::clone(&pull.bucket), Arc::clone(&pull.key))),
        };
        let pulls = Arc::clone(self);
        self.tasks.spawn(async move {
            let ended = pulls.ended.run_until_cancelled(pulls.pull(&pull)).await;
            let ended = ended.unwrap_or(Err(Failure::Busy));
            pulls.count(ended.as_ref().map_or_else(Failure::counted, |pulled| *pulled));
            // Whoever misses it from here on finds it, or tries again.
            drop(place);
            tell.send_replace(Some(ended.map(|_| ())));
        });
    }

    /// A place for a fetch that nobody else joins.
    pub(super) fn place(self: &Arc<Self>, bucket: &Arc<str>) -> Option<Place> {
        let taken = self.going().take(bucket);
        taken.then(|| Place { pulls: Arc::clone(self), bucket: Arc::clone(bucket), at: None })
    }

    async fn pull(self: &Arc<Self>, pull: &Pull) -> Result<Pulled, Failure> {
        let (mut from, mut until) = (0, None);
        let watch = Arc::new(self.commit.watch_key(&pull.bucket, &pull.key));
        // It may have waited for its place.
        while self.is_still_asked_for(pull) {
            let (at, fetched) = self.open(pull, from, &mut until).await?;
            match self.keep(pull, &watch, fetched).await {
                // The next one may do better.
                Err(Failure::Origin { .. }) if at + 1 < pull.urls.len() => from = at + 1,
                ended => return ended,
            }
        }
        Ok(Pulled::Superseded)
    }

    /// True if the bucket is the one that it was, and its origin is still where it was.
    fn is_still_asked_for(&self, pull: &Pull) -> bool {
        let bucket = self.commit.store().bucket(&pull.bucket).ok().flatten();
        bucket.is_some_and(|bucket| self.asks_for(&bucket, pull))
    }

    /// The same of the bucket as it is.
    pub(super) fn asks_for(&self, bucket: &Bucket, pull: &Pull) -> bool {
        let rules = self.rules.of(bucket).filter(|_| bucket.created_us == pull.born);
        rules.is_some_and(|rules| rules.for_key(&pull.key).is_some_and(|rule| rule.hosts == pull.hosts))
    }

    /// Asks the hosts from `from` on, one after the other, and says which one has it. That one has it not is
    /// an answer.
    pub(super) async fn open(
        &self,
        pull: &Pull,
        from: usize,
        until: &mut Option<Instant>,
    ) -> Result<(usize, Fetched), Failure> {
        let options = self.options;
        let made = self.fetcher.get_or_try_init(|| async move {
            let made = tokio::task::spawn_blocking(move || Fetcher::new(options, None)).await;
            made.unwrap_or_else(|e| Err(e.to_string()))
        });
        let fetcher = made.await.map_err(|why| {
            tracing::error!(%why, "origins cannot be asked");
            Failure::Internal
        })?;
        let (mut last, until) = (Failure::NotFound, *until.get_or_insert_with(|| fetcher.deadline()));
        for (at, url) in pull.urls.iter().enumerate().skip(from) {
            match fetcher.get(url.clone(), &pull.headers, pull.follow, until).await {
                Ok(fetched) => return Ok((at, fetched)),
                Err(FetchError::NotFound) => return Err(Failure::NotFound),
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }
}

/// The place of a fetch among all that may run at once, until this is dropped.
pub(super) struct Place {
    pulls: Arc<Pulls>,
    bucket: Arc<str>,
    /// Others may join it.
    at: Option<At>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let next = {
            let mut going = self.pulls.going();
            if let Some(at) = &self.at {
                going.end(at);
            }
            going.give(&self.bucket)
        };
        let Some(job) = next else { return };
        if Handle::try_current().is_ok() && !self.pulls.ended.is_cancelled() {
            self.pulls.start(job);
        }
    }
}
