//! Keeping rows durable, and telling the journal what they still need of it.
//!
//! Written at most 200 ms after a change, synced at most 1 s after it. Must never let the journal trim or
//! compact what a synced row still needs, nor anything while a reader may be missing.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::ReadError;
use super::embedded::Inner;
use super::entry::TargetNo;
use super::pieces;
use super::rows::Need;
use crate::journal::{LabelNeed, Needed};

/// A row is written at most this long after a change …
const ROW_WRITTEN: Duration = Duration::from_millis(200);
/// … and synced at most this long after it.
const ROW_SYNCED: Duration = Duration::from_secs(1);
/// The row of a reader that reads for itself and finds nothing is written again once its position is so many
/// offsets behind.
const IDLE_SLACK: u64 = 20_000;

impl Inner {
    /// The store's checkpoint or a row was synced: says what nobody needs any more.
    pub(super) fn raise_floor(&self) {
        // While a reader may be missing, nobody knows what it needs.
        if !self.complete.load(Ordering::Acquire) {
            return;
        }
        let mut floor = self.checkpoint.load(Ordering::Acquire);
        // Before any reader is looked at: see `Progress::idles_at`.
        let routed = self.routes.dispatched.load(Ordering::Acquire);
        for (progress, file) in self.rows().iter() {
            // A thousand idle targets share one position, which is written nowhere: the log counts what is
            // for them, so a row whose count is complete is known to lack nothing, wherever it stands.
            let idle = file.is_synced() && progress.idles_at(routed);
            floor = floor.min(if idle { routed } else { file.synced.floor() });
        }
        // Read after the rows: who is done with going back has a row that says so.
        floor = self.rewinding().values().fold(floor, |floor, back| floor.min(back.from));
        self.journal.trim(floor);
    }

    /// Removes frozen holes that no row names: a process died between them and their row.
    pub(super) fn remove_strays(&self) {
        // Held throughout: a piece that is being made is not named yet.
        let rows = self.rows();
        let named: HashMap<_, _> = rows.iter().map(|(p, file)| (p.target, file.named_pieces())).collect();
        let is_named = |target, id| named.get(&target).is_none_or(|ids: &Vec<u64>| ids.contains(&id));
        if let Err(e) = pieces::remove_strays(&*self.disk, &self.options.progress_dir, is_named) {
            tracing::warn!("progress files that nobody needs are not removed now: {e}");
        }
    }

    /// True if a target's synced row is past an offset and will not ask for it again.
    pub(super) fn synced_past(&self, target: TargetNo, offset: u64) -> bool {
        let rows = self.rows();
        let row = rows.iter().find(|(progress, _)| progress.target == target);
        row.is_some_and(|(_, file)| offset < file.synced.position && !file.synced.holes.contains(offset))
    }

    /// What compaction must keep, by synced rows and the synced checkpoint.
    pub(super) fn needed(&self) -> Option<Needed> {
        if !self.complete.load(Ordering::Acquire) {
            return None;
        }
        // First the checkpoint: what becomes durable for a reader that is added meanwhile lies above it.
        let from = self.checkpoint.load(Ordering::Acquire);
        let (rewinding, rows) = (self.rewinding().clone(), self.rows());
        let needs = rows.iter().map(|(progress, file)| {
            let Need { position, holes, .. } = file.synced.clone();
            let position = rewinding.get(&progress.target.0).map_or(position, |back| position.min(back.from));
            (progress.target.0, LabelNeed { from: position, holes: holes.iter().map(|h| h.offset).collect() })
        });
        let labels = needs.collect();
        Some(Needed { from, labels, whole: self.whole(rows.iter().map(|(_, file)| &file.synced)) })
    }

    /// Writes and syncs rows when they change, until the queue stops; then once more.
    pub(super) async fn keep_rows(&self) {
        let mut wanted = self.wanted.subscribe();
        // Somebody may have asked before this began to listen.
        if *wanted.borrow() > 0 {
            wanted.mark_changed();
        }
        let mut stopping = self.stopping.subscribe();
        let (mut write_at, mut sync_at) = (None, None);
        loop {
            let (asked, stop) = tokio::select! {
                // Once it is known that something changed, more changes change nothing.
                () = self.routes.rows.notified(), if write_at.is_none() => {
                    let now = Instant::now();
                    write_at = Some(now + ROW_WRITTEN);
                    sync_at.get_or_insert(now + ROW_SYNCED);
                    continue;
                }
                () = reached(write_at) => (false, false),
                () = reached(sync_at) => (true, false),
                changed = wanted.changed() => (changed.is_ok(), changed.is_err()),
                _ = stopping.wait_for(|s| *s) => (true, true),
            };
            let served = *wanted.borrow_and_update();
            let written = self.write_rows(asked);
            let failed = match &written {
                Ok(unwritten) => unwritten.clone(),
                Err(e) => Some(format!("progress cannot be made durable: {e}")),
            };
            // A disk without space may have some later; nobody tells.
            write_at = failed.as_ref().map(|_| Instant::now() + ROW_SYNCED);
            if asked {
                sync_at = write_at;
                self.flushed.send_replace(Flushed { served, failed: failed.clone() });
            }
            if let (Err(_), Some(why)) = (written, failed) {
                tracing::error!("{why}");
                self.failed.send_replace(Some(why));
                return;
            }
            if stop {
                return;
            }
        }
    }

    /// Writes every row that changed; with `sync` also makes them durable. Says why a row is not written (no
    /// space): it is tried again.
    fn write_rows(&self, sync: bool) -> std::io::Result<Option<String>> {
        let durable_end = *self.journal.durable_end().borrow();
        let (mut synced, mut unwritten, dir) = (false, None, &self.options.progress_dir);
        for (progress, file) in self.rows().iter_mut() {
            if progress.wants_row(file.position, IDLE_SLACK) {
                let row = progress.row(durable_end);
                let kept = file.keep_pieces(&*self.disk, dir, progress.target, &row);
                if let Err(e) = kept.and_then(|()| file.write(progress.target, &row)) {
                    progress.state().touch();
                    let why = format!("the progress of target {} is not written: {e}", progress.target.0);
                    tracing::warn!("{why}");
                    unwritten = Some(why);
                    continue;
                }
            }
            if sync {
                synced |= file.sync()?;
                file.drop_pieces(&*self.disk, dir, progress.target);
            }
        }
        if synced {
            self.raise_floor();
        }
        Ok(unwritten)
    }

    /// Asks for everything settled so far to be made durable, and waits for it. An error says that it is not.
    pub(super) async fn flush(&self) -> Result<(), ReadError> {
        let mut ticket = 0;
        self.wanted.send_modify(|n| {
            *n += 1;
            ticket = *n;
        });
        let mut flushed = self.flushed.subscribe();
        let done = flushed.wait_for(|f| f.served >= ticket).await.map_err(|_| ReadError::Closed)?;
        match &done.failed {
            Some(why) => Err(ReadError::Io(std::io::Error::other(why.clone()))),
            None => Ok(()),
        }
    }
}

/// Which requests for durable rows were served, and why they are not durable nevertheless.
#[derive(Debug, Default)]
pub(super) struct Flushed {
    pub(super) served: u64,
    pub(super) failed: Option<String>,
}

/// The moment has come; never if there is none.
async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
