//! Restores of archived objects on the commit path: asked for, and asked for again.
//!
//! Must never begin a second restore of an object that is being restored, and never restore another object
//! than
//! the caller looked at.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::detached::Detached;
use super::{Admitted, Commit, CommitError, Inner};
use crate::config;
use crate::event::{Event, EventKind, RequestInfo, Version};
use crate::fail;
use crate::queue::{Change, Permit, Restore, RestoreChange, Tier};
use crate::store::{Object, Versioning};

/// Microseconds in a day.
const DAY: i64 = 24 * 3_600 * 1_000_000;

/// A restore that shall begin, or go on for longer.
#[derive(Debug, Clone)]
pub struct WantedRestore {
    /// The object's storage class.
    pub class: Arc<str>,
    /// How soon it shall be done …
    pub tier: Tier,
    /// … and how long that takes: see [`Commit::restore_takes`].
    pub takes: Duration,
    /// For how many days the object shall be readable: 1 to 36,500.
    pub days: u32,
    /// Who asks.
    pub request: RequestInfo,
}

/// What became of a wish for a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// It began.
    Begun,
    /// It was done before: the object can be read for longer, or less long, than before.
    Extended,
}

impl Commit {
    /// From now on restores take so long. To be called once, before any request; without it, they take as
    /// long
    /// as by default.
    pub fn set_restore_times(&self, times: config::Restore) {
        let _ = self.inner.timers.times.set(times);
    }

    /// How long a restore takes; none: there is no such tier for this class.
    pub fn restore_takes(&self, deep: bool, tier: Tier) -> Option<Duration> {
        let times = self.inner.timers.times.get_or_init(config::Restore::default);
        match (deep, tier) {
            (false, Tier::Expedited) => Some(times.archive_expedited),
            (false, Tier::Standard) => Some(times.archive_standard),
            (false, Tier::Bulk) => Some(times.archive_bulk),
            (true, Tier::Expedited) => None,
            (true, Tier::Standard) => Some(times.deep_archive_standard),
            (true, Tier::Bulk) => Some(times.deep_archive_bulk),
        }
    }

    /// Begins the restore of an object, as the caller found it; one that is restored stays readable for as
    /// many
    /// days from now. Only the former is an event. [`CommitError::Replaced`]: look again.
    pub async fn restore_object(
        &self,
        mut permit: Permit,
        object: &Object,
        wanted: WantedRestore,
    ) -> Result<Asked, CommitError> {
        let inner = Arc::clone(&self.inner);
        let (bucket, key) = (Arc::clone(&object.bucket), Arc::clone(&object.key));
        let (of, version) = (object.offset, object.version);
        Detached::new(async move {
            let _bucket = inner.bucket_lock(&bucket).read().await;
            let _key = inner.key_lock(&bucket, &key).lock().await;
            let found = inner.store.version(&bucket, &key, Some(version))?.filter(|found| !found.marker);
            let object = found.ok_or(CommitError::NoSuchKey)?.object;
            if object.offset != of {
                return Err(CommitError::Replaced);
            }
            let before = inner.store.restore(&bucket, &key, of)?;
            let now_us = (inner.clock)();
            let was_due_us = before.as_ref().map(Restore::due_us);
            match before {
                Some(running) if running.expires_us.is_none() => Err(CommitError::RestoreInProgress),
                Some(done) if done.is_readable(now_us) => {
                    let (days, expires_us) = (wanted.days, Some(expiry(now_us, wanted.days)));
                    let now = Some(Restore { days, expires_us, ..done });
                    let change = RestoreChange { bucket, key, of, was_due_us, now, headers: Vec::new() };
                    inner.change_restore(permit, change).await?;
                    Ok(Asked::Extended)
                }
                _ => {
                    let begun = wanted.begin(&object, now_us);
                    let (now, headers) = (Some(begun), metadata_of(&object));
                    let change = RestoreChange { bucket, key, of, was_due_us, now, headers };
                    let event = EventKind::RestorePost;
                    let admitted = inner.admit_restore(&mut permit, change, event, &object)?;
                    inner.append_restore(permit, admitted).await?;
                    fail::point("restore.posted");
                    Ok(Asked::Begun)
                }
            }
        })
        .await
    }
}

impl WantedRestore {
    fn begin(self, object: &Object, now_us: i64) -> Restore {
        let takes = i64::try_from(self.takes.as_micros()).unwrap_or(i64::MAX);
        Restore {
            version: object.version,
            class: self.class,
            tier: self.tier,
            days: self.days,
            asked_us: now_us,
            ready_us: now_us.saturating_add(takes),
            expires_us: None,
            request: self.request,
        }
    }
}

/// What events say of an object's metadata.
pub(super) fn metadata_of(object: &Object) -> Vec<(Arc<str>, Arc<str>)> {
    let said = |name: &str| name == "content-type" || name.starts_with("x-amz-meta-");
    object.meta.headers.iter().filter(|(name, _)| said(name)).cloned().collect()
}

/// Until when an object can be read whose restore is done at `now_us`: the first midnight (UTC) after so many
/// days, as S3 has it.
pub(super) fn expiry(now_us: i64, days: u32) -> i64 {
    let end = now_us.saturating_add(i64::from(days).saturating_mul(DAY));
    end.saturating_add(DAY - 1).div_euclid(DAY).saturating_mul(DAY)
}

impl Inner {
    /// Matches the rules of this moment for a change of a restore that is an event, and charges the budgets
    /// of those who get it. The event is about the object as it is.
    pub(super) fn admit_restore(
        &self,
        permit: &mut Permit,
        change: RestoreChange,
        kind: EventKind,
        object: &Object,
    ) -> Result<Admitted, CommitError> {
        let within = self.require_bucket(&change.bucket)?;
        let never = within.versioning() == Versioning::Never;
        let version = (!never).then_some(Version::Named(object.version));
        let request = change.now.as_ref().map(|now| now.request.clone());
        let request = request.ok_or_else(|| CommitError::Unknown("an event of no restore".to_owned()))?;
        let (bucket, key, etag) =
            (Arc::clone(&change.bucket), Arc::clone(&change.key), Arc::clone(&object.etag));
        let event = Event { version, ..self.event(kind, bucket, key, object.size, etag, request) };
        self.admit(&within, permit, Change::Restore(Arc::new(change)), event)
    }

    /// Makes a change of a restore durable that is an event, and sees to it that it is looked at in time.
    pub(super) async fn append_restore(&self, permit: Permit, admitted: Admitted) -> Result<(), CommitError> {
        let due = match &admitted.entry.change {
            Change::Restore(change) => change.now.as_ref().map(Restore::due_us),
            _ => None,
        };
        let appended = self.append_event(permit, admitted, Bytes::new()).await;
        // Where nobody knows, it is looked at all the same.
        due.into_iter().for_each(|due| self.timers.set(due));
        appended.map(|_| ())
    }

    /// The same of one that is no event.
    pub(super) async fn change_restore(
        &self,
        permit: Permit,
        change: RestoreChange,
    ) -> Result<(), CommitError> {
        let due = change.now.as_ref().map(Restore::due_us);
        let appended = self.append_setting(permit, Change::Restore(Arc::new(change))).await;
        due.into_iter().for_each(|due| self.timers.set(due));
        appended.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_object_expires_at_the_midnight_after_its_days() {
        let noon = 1_000 * DAY + DAY / 2;
        assert_eq!(expiry(noon, 1), 1_002 * DAY);
        assert_eq!(expiry(noon, 365), 1_366 * DAY);
        assert_eq!(expiry(1_000 * DAY, 1), 1_001 * DAY, "midnight is the first midnight");
        assert_eq!(expiry(1_000 * DAY + 1, 1), 1_002 * DAY);
        assert_eq!(expiry(-DAY - 1, 1), 0);
        assert!(expiry(i64::MAX, 36_500) > 0, "no time is beyond what a clock can say");
    }
}
