//! The dispatcher: reads every durable entry once and routes it to the inboxes of the targets it is for.
//!
//! A reader that falls behind is detached and reads for itself until it has caught up. Must never wait for a
//! reader: one full inbox costs the others nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::{Notify, watch};

use super::entry::{Stored, TargetNo};
use super::progress::{INBOX_ENTRIES, Progress};
use super::read::Read;
use super::tail::{Found, Tail};
use crate::fail;

/// Entries routed in one go.
const BATCH: usize = 8_192;
/// Whoever keeps rows is told once so many offsets were routed, for the readers that are idle meanwhile.
const ROWS_EVERY: u64 = 10_000;
/// What an inbox holds where a test makes bounds small.
const INBOX_ENTRIES_SMALL: usize = 8;

/// As many entries as an inbox may hold; a test build can make them few.
fn inbox_entries() -> usize {
    if fail::small() { INBOX_ENTRIES_SMALL } else { INBOX_ENTRIES }
}

/// Every reader by its target's number, and how far routing has come.
#[derive(Debug)]
pub(super) struct Routes {
    readers: RwLock<HashMap<u32, Arc<Progress>>>,
    /// Everything below was routed.
    pub(super) dispatched: Arc<AtomicU64>,
    /// Told when rows may have to be written.
    pub(super) rows: Arc<Notify>,
    /// Held while one batch is routed, and while a reader attaches: the two must not interleave.
    routing: Mutex<()>,
}

impl Routes {
    /// Routing begins at `next`.
    pub(super) fn new(next: u64) -> Self {
        Self {
            readers: RwLock::default(),
            dispatched: Arc::new(AtomicU64::new(next)),
            rows: Arc::default(),
            routing: Mutex::new(()),
        }
    }

    /// The progress of a target, if it was added.
    pub(super) fn get(&self, target: TargetNo) -> Option<Arc<Progress>> {
        self.readers.read().unwrap_or_else(PoisonError::into_inner).get(&target.0).cloned()
    }

    /// Takes a reader out: nothing is routed to it any more, nor counted for it.
    pub(super) fn remove(&self, target: TargetNo) -> Option<Arc<Progress>> {
        let _routing = self.routing.lock().unwrap_or_else(PoisonError::into_inner);
        self.readers.write().unwrap_or_else(PoisonError::into_inner).remove(&target.0)
    }

    /// Every reader.
    pub(super) fn all(&self) -> Vec<Arc<Progress>> {
        self.readers.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(super) fn add(&self, progress: Arc<Progress>) {
        self.readers.write().unwrap_or_else(PoisonError::into_inner).insert(progress.target.0, progress);
    }

    /// Counts a durable batch for the targets it is for. On the writer thread, before anybody can take it.
    pub(super) fn count_matched(&self, batch: &[Arc<Stored>]) {
        let readers = self.readers.read().unwrap_or_else(PoisonError::into_inner);
        for delivery in batch.iter().flat_map(|s| &s.entry.deliveries) {
            if let Some(progress) = readers.get(&delivery.target.0) {
                progress.matched.fetch_add(1, Ordering::Release);
            }
        }
        for delivery in batch.iter().flat_map(|s| &s.entry.shed) {
            if fail::mutant("shed-not-counted") {
                break;
            }
            if let Some(progress) = readers.get(&delivery.target.0) {
                progress.shed.fetch_add(1, Ordering::Release);
            }
        }
    }

    /// Attaches a reader that has read everything below `position`, if routing is not further than that.
    pub(super) fn attach(&self, progress: &Progress, position: u64) -> bool {
        let _routing = self.routing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.dispatched.load(Ordering::Acquire) > position {
            return false;
        }
        let mut state = progress.state();
        state.attached = true;
        state.from = position;
        true
    }

    /// Attaches a reader for which the log holds nothing that it has not taken, without reading: a target
    /// that is idle, paused or removed must not keep the log from being trimmed.
    pub(super) fn attach_idle(&self, progress: &Progress) {
        let _routing = self.routing.lock().unwrap_or_else(PoisonError::into_inner);
        let dispatched = self.dispatched.load(Ordering::Acquire);
        if progress.took_everything() {
            let mut state = progress.state();
            state.attached = true;
            state.from = state.from.max(dispatched);
        }
    }

    /// Routes one batch: everything below `next`.
    fn route(&self, batch: &[Arc<Stored>], next: u64) {
        let mut by_target: HashMap<u32, Vec<Arc<Stored>>> = HashMap::new();
        for stored in batch {
            for delivery in &stored.entry.deliveries {
                by_target.entry(delivery.target.0).or_default().push(Arc::clone(stored));
            }
        }
        let _routing = self.routing.lock().unwrap_or_else(PoisonError::into_inner);
        for (target, entries) in by_target {
            let Some(progress) = self.get(TargetNo(target)) else { continue };
            let mut state = progress.state();
            if !state.attached {
                continue;
            }
            let from = state.from;
            for stored in entries.into_iter().filter(|s| s.position.offset >= from) {
                if state.inbox.len() >= inbox_entries() {
                    if fail::mutant("drop-on-full") {
                        break;
                    }
                    // It reads for itself from here on, after what is in its inbox.
                    state.attached = false;
                    state.from = stored.position.offset;
                    break;
                }
                state.inbox.push_back(stored);
            }
            drop(state);
            progress.arrived.notify_one();
        }
        let before = self.dispatched.swap(next, Ordering::AcqRel);
        if before / ROWS_EVERY != next / ROWS_EVERY {
            self.rows.notify_one();
        }
    }
}

/// Reads from disk what the tail does not hold any more: entries from an offset on, up to a number, without
/// bodies.
pub(super) type CatchUp = Arc<dyn Fn(u64, usize) -> Result<Read, super::ReadError> + Send + Sync>;

/// Routes until the queue ends, or until what it must route cannot be read.
pub(super) async fn run(
    routes: Arc<Routes>,
    tail: Arc<Tail>,
    catch_up: CatchUp,
    mut durable: watch::Receiver<u64>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), String> {
    loop {
        let next = routes.dispatched.load(Ordering::Acquire);
        if *durable.borrow_and_update() <= next {
            tokio::select! {
                changed = durable.changed() => if changed.is_err() { return Ok(()) },
                _ = stop.wait_for(|s| *s) => return Ok(()),
            }
            continue;
        }
        let read = match tail.from(next, BATCH) {
            Found::Entries(entries) => {
                let next = entries.last().map_or(next, |s| s.position.offset + 1);
                Read { entries, next }
            }
            // Durable, so it is in the tail by now or was there before.
            Found::Nothing => continue,
            Found::Older => {
                let read = Arc::clone(&catch_up);
                match tokio::task::spawn_blocking(move || read(next, BATCH)).await {
                    Ok(Ok(read)) => read,
                    Ok(Err(e)) => {
                        tracing::error!("dispatching stopped at offset {next}: {e}");
                        return Err(format!("at offset {next}: {e}"));
                    }
                    Err(e) => return if *stop.borrow() { Ok(()) } else { Err(e.to_string()) },
                }
            }
        };
        routes.route(&read.entries, read.next);
        tokio::task::yield_now().await;
    }
}
