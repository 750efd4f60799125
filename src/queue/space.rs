//! Space for a change: prepared segments, disk, and memory until the index has applied it.
//!
//! The only place that answers [`Full`]. Must never refuse a setting or a removal for want of what is kept
//! back for them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::embedded::{EmbeddedQueue, Inner};
use super::{Full, FullReason, Permit};

/// Overlay bytes that an entry costs beside its body.
const ENTRY_CHARGE: u32 = 1024;

impl EmbeddedQueue {
    /// Waits until so many segments stand ready: two for changes, one for settings.
    ///
    /// # Errors
    /// Why they do not: there is no space, which is known at once, or they were not made `within` that time.
    /// Both may heal without a restart.
    pub async fn segments_ready(&self, segments: usize, within: Duration) -> Result<(), String> {
        let journal = &self.inner.journal;
        let (mut prepared, mut blocked, mut failed) =
            (journal.prepared(), journal.blocked(), journal.failed());
        let said = |why: &Option<String>| why.clone().unwrap_or_default();
        tokio::select! {
            biased;
            Ok(_) = prepared.wait_for(|n| *n >= segments) => Ok(()),
            Ok(why) = failed.wait_for(Option::is_some) => Err(said(&why)),
            Ok(why) = blocked.wait_for(Option::is_some) => {
                Err(format!("the event log is full: {}", said(&why)))
            }
            () = tokio::time::sleep(within) => Err(format!(
                "the disk did not write the next {segments} segments of the event log within {within:?}"
            )),
        }
    }
}

impl Inner {
    /// A change waits for space at most until then.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.options.reserve_timeout
    }

    /// True while the space kept back for a full disk is in use.
    pub(super) fn is_short(&self) -> bool {
        self.short.as_ref().is_some_and(|short| *short.borrow())
    }

    /// Waits until so many segments stand ready.
    pub(super) async fn wait_for_segments(&self, segments: usize, deadline: Instant) -> Result<(), Full> {
        let mut prepared = self.journal.prepared();
        if *prepared.borrow() >= segments {
            return Ok(());
        }
        let ready = timeout_at(deadline, prepared.wait_for(|n| *n >= segments)).await;
        if matches!(ready, Ok(Ok(_))) {
            return Ok(());
        }
        let why = self.journal.stat().blocked.unwrap_or_else(|| "no journal segment is ready".to_owned());
        Err(Full { reason: FullReason::Log, why: format!("the event log is full: {why}") })
    }

    /// Waits until nothing lives on the space that is kept back for a full disk.
    pub(super) async fn wait_for_disk(&self, deadline: Instant) -> Result<(), Full> {
        if !self.is_short() {
            return Ok(());
        }
        let mut short = self.short.clone().expect("a disk that is short says so");
        if timeout_at(deadline, short.wait_for(|short| !short)).await.is_ok() {
            return Ok(());
        }
        Err(Full { reason: FullReason::Disk, why: "the disk is full".to_owned() })
    }

    /// Waits until the index follows, and has memory for one change more.
    pub(super) async fn wait_for_index(&self, bytes: usize, deadline: Instant) -> Result<Permit, Full> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).saturating_add(ENTRY_CHARGE);
        let mut open = self.held.subscribe();
        if open.borrow().is_some() {
            let heals = timeout_at(deadline, open.wait_for(Option::is_none)).await.is_ok();
            if let Some(why) = self.held.borrow().clone().filter(|_| !heals) {
                return Err(Full { reason: FullReason::IndexStalled, why });
            }
        }
        let held = timeout_at(deadline, Arc::clone(&self.overlay).acquire_many_owned(bytes)).await;
        match held {
            Ok(Ok(permit)) => Ok(Permit { bytes, held: Some(permit), charge: None }),
            _ => {
                let why = "too many changes wait for the index (queue.overlay_bytes)".to_owned();
                Err(Full { reason: FullReason::IndexBusy, why })
            }
        }
    }
}
