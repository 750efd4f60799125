//! What is due at a time of its own: restores that are done, and restored objects that expire.
//!
//! A change in the log is the end of each: what a crash comes before is due again after it, and what it comes
//! behind is not. Must never give one up: where there is no space, or a target that would get the event has
//! none, it waits. Must never cost anything where nothing is restored.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;

use super::detached::Detached;
use super::restore::{expiry, metadata_of};
use super::{Commit, CommitError, Inner};
use crate::config;
use crate::event::EventKind;
use crate::fail;
use crate::queue::{Permit, Restore, RestoreChange};
use crate::store::{DueRestore, Object};

/// The longest sleep while something is due later: clocks are set, and a sleep does not know it.
pub const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// When what has to wait for space is tried again, in microseconds.
const AGAIN_US: i64 = 1_000_000;
/// Timers looked at in one go.
const RUN: usize = 256;
/// What the record of a restore takes beside bucket and key, which stand in it twice: more than any does,
/// with all metadata that an object may have.
const RECORD_BYTES: usize = 10 << 10;
/// Nothing is due.
const NEVER: i64 = i64::MAX;

/// When to look next.
pub(super) struct Timers {
    pub(super) times: OnceLock<config::Restore>,
    /// Microseconds since the Unix epoch.
    next: AtomicI64,
    wake: Notify,
}

impl Default for Timers {
    /// Due at once: nobody has looked yet what the store has.
    fn default() -> Self {
        Self { times: OnceLock::new(), next: AtomicI64::new(i64::MIN), wake: Notify::new() }
    }
}

impl Timers {
    /// Something is due then.
    pub(super) fn set(&self, due_us: i64) {
        if self.next.fetch_min(due_us, Ordering::AcqRel) > due_us {
            self.wake.notify_one();
        }
    }
}

/// What became of restores that were due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RestoresEnded {
    /// Done: their objects can be read, and the event says so.
    pub completed: usize,
    /// Their objects cannot be read any more.
    pub expired: usize,
    /// Their objects are gone.
    pub void: usize,
    /// They have to wait for space.
    pub waiting: usize,
}

/// What is due for one restore.
enum Due {
    /// It is done: the object, and the restore from now on.
    Completed(Object, Restore),
    /// Its object cannot be read any more.
    Expired,
    /// Its object is gone.
    Void,
    /// Nothing: the timer is of an earlier time.
    Stale(Restore),
}

impl Commit {
    /// Space for the record of a restore.
    pub async fn reserve_restore(&self, bucket: &str, key: &str) -> Result<Permit, CommitError> {
        self.reserve(record_bytes(bucket, key)).await
    }

    /// Waits until something about restores is due. Where nothing is restored it waits for the first wish.
    pub async fn restores_due(&self, clock: fn() -> i64) {
        let timers = &self.inner.timers;
        loop {
            let (next, now) = (timers.next.load(Ordering::Acquire), clock());
            if next <= now {
                return;
            }
            if next == NEVER {
                timers.wake.notified().await;
                continue;
            }
            let left = Duration::from_micros(next.saturating_sub(now).unsigned_abs());
            tokio::select! {
                () = timers.wake.notified() => {}
                () = tokio::time::sleep(left.min(LOOK_AGAIN)) => {}
            }
        }
    }

    /// Ends everything about restores that is due at `now_us` (microseconds since the Unix epoch), the
    /// earliest
    /// first. What has to wait for space is tried again a second later. One caller at a time.
    pub async fn end_due_restores(&self, now_us: i64) -> Result<RestoresEnded, CommitError> {
        let timers = &self.inner.timers;
        // Wishes that come meanwhile set it again, whether or not they are seen below.
        timers.next.store(NEVER, Ordering::Release);
        let ended = self.end_restores(now_us).await;
        let next = match &ended {
            Ok(ended) if ended.waiting == 0 => self.next_restore(now_us),
            _ => Ok(now_us.saturating_add(AGAIN_US)),
        };
        timers.set(next.unwrap_or(now_us.saturating_add(AGAIN_US)));
        ended
    }

    async fn end_restores(&self, now_us: i64) -> Result<RestoresEnded, CommitError> {
        let (mut ended, mut after) = (RestoresEnded::default(), None);
        loop {
            let run = self.store().due_restores(after.as_ref(), now_us, RUN)?;
            for due in &run {
                match self.end_restore(due.clone()).await {
                    Ok(Due::Completed(..)) => ended.completed += 1,
                    Ok(Due::Expired) => ended.expired += 1,
                    Ok(Due::Void) => ended.void += 1,
                    Ok(Due::Stale(_)) => {}
                    // Others may be for other targets.
                    Err(CommitError::OverBudget(_)) => ended.waiting += 1,
                    Err(CommitError::Full(_)) => {
                        ended.waiting += 1;
                        return Ok(ended);
                    }
                    Err(error) => return Err(error),
                }
            }
            match run.into_iter().next_back() {
                Some(last) => after = Some(last),
                None => return Ok(ended),
            }
        }
    }

    /// When the next one is due.
    fn next_restore(&self, now_us: i64) -> Result<i64, CommitError> {
        let now = DueRestore { due_us: now_us.saturating_add(1), bucket: "".into(), key: "".into(), of: 0 };
        let next = self.store().due_restores(Some(&now), NEVER, 1)?;
        Ok(next.first().map_or(NEVER, |next| next.due_us))
    }

    async fn end_restore(&self, due: DueRestore) -> Result<Due, CommitError> {
        let bytes = record_bytes(&due.bucket, &due.key);
        let mut permit = self.inner.queue.reserve(bytes).await?;
        let inner = Arc::clone(&self.inner);
        Detached::new(async move {
            let _bucket = inner.bucket_lock(&due.bucket).read().await;
            let _key = inner.key_lock(&due.bucket, &due.key).lock().await;
            let what = inner.what_is_due(&due)?;
            let DueRestore { due_us, bucket, key, of } = due;
            let was_due_us = Some(due_us);
            let change = |now, headers| RestoreChange { bucket, key, of, was_due_us, now, headers };
            match &what {
                Due::Expired | Due::Void => inner.change_restore(permit, change(None, Vec::new())).await?,
                Due::Stale(as_it_is) => {
                    inner.change_restore(permit, change(Some(as_it_is.clone()), Vec::new())).await?;
                }
                Due::Completed(object, done) => {
                    let kind = EventKind::RestoreCompleted;
                    let change = change(Some(done.clone()), metadata_of(object));
                    let admitted = inner.admit_restore(&mut permit, change, kind, object)?;
                    fail::point("restore.due");
                    inner.append_restore(permit, admitted).await?;
                    fail::point("restore.completed");
                }
            }
            Ok(what)
        })
        .await
    }
}

impl Inner {
    fn what_is_due(&self, due: &DueRestore) -> Result<Due, CommitError> {
        let Some(restore) = self.store.restore(&due.bucket, &due.key, due.of)? else { return Ok(Due::Void) };
        let found = self.store.version(&due.bucket, &due.key, Some(restore.version))?;
        let is_it = |object: &Object| object.offset == due.of || fail::mutant("restore-outlives-its-object");
        let object = found.filter(|found| !found.marker && is_it(&found.object));
        let Some(object) = object.map(|found| found.object) else { return Ok(Due::Void) };
        if restore.due_us() != due.due_us {
            return Ok(Due::Stale(restore));
        }
        if restore.expires_us.is_some() {
            return Ok(Due::Expired);
        }
        let expires = expiry((self.clock)(), restore.days);
        let expires_us = (!fail::mutant("restore-done-twice")).then_some(expires);
        Ok(Due::Completed(object, Restore { expires_us, ..restore }))
    }
}

fn record_bytes(bucket: &str, key: &str) -> usize {
    RECORD_BYTES + 2 * (bucket.len() + key.len())
}
