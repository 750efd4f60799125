//! The ballast: a file of zeros that is cut, stage by stage, when a disk is full, and made whole again later.
//!
//! Must never take the last space of a disk for itself: a stage for which there is no space is given up at
//! once.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::disk::{Disk, is_no_space};

/// The ballast is given back in so many parts.
const STAGES: u64 = 4;
/// Zeros are written and synced in pieces of this size, so that the log's own syncs do not queue behind.
const PIECE: u64 = 1 << 20;
/// So long after a stage was given back, and after a failed attempt, the ballast is made whole again. Nobody
/// tells when there is space.
const REFILL: Duration = Duration::from_secs(5);

/// The ballast of one disk.
pub(super) struct Ballast {
    pub(super) disk: Arc<dyn Disk>,
    path: PathBuf,
    /// Bytes of the whole ballast, and of one stage.
    whole: u64,
    stage: u64,
    state: Mutex<State>,
    wake: Condvar,
    pub(super) short: watch::Sender<bool>,
}

struct State {
    /// Bytes of the ballast that are there.
    len: u64,
    /// A stage was given back since the last attempt to make it whole.
    given: bool,
    stopping: bool,
}

impl Ballast {
    /// What is there at `path` is used; nothing is written.
    pub(super) fn open(disk: Arc<dyn Disk>, path: PathBuf, bytes: u64) -> io::Result<Self> {
        let stage = (bytes / STAGES).next_multiple_of(PIECE);
        let len = match disk.open(&path) {
            Ok(file) => file.len()?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
            Err(e) => return Err(e),
        };
        let state = Mutex::new(State { len, given: false, stopping: false });
        let (wake, short) = (Condvar::new(), watch::Sender::new(false));
        Ok(Self { disk, path, whole: stage * STAGES, stage, state, wake, short })
    }

    /// Ends [`Ballast::run`].
    pub(super) fn stop(&self) {
        self.lock().stopping = true;
        self.wake.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes it whole, now and whenever a part of it was given back, until it stops.
    pub(super) fn run(&self) {
        let mut state = self.lock();
        let mut wait = false;
        while !state.stopping {
            if wait || std::mem::take(&mut state.given) {
                let rest = self.wake.wait_timeout_while(state, REFILL, |s| !s.stopping && !s.given);
                let (after, timeout) = rest.unwrap_or_else(PoisonError::into_inner);
                state = after;
                // Given back again meanwhile: not yet.
                wait = !timeout.timed_out() && !state.stopping;
                state.given &= !wait;
            } else if state.len < self.whole {
                drop(state);
                wait = self.fill().is_err();
                state = self.lock();
            } else {
                let idle = |s: &mut State| !s.stopping && !s.given;
                state = self.wake.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Writes what is missing, stage by stage; a stage for which there is no space is not begun for good.
    pub(super) fn fill(&self) -> io::Result<()> {
        let filled = self.write_missing();
        if let Err(e) = &filled
            && !self.lock().stopping
        {
            if !self.short.send_replace(true) {
                tracing::warn!(
                    "the disk is full ({e}): changes are refused, the rest goes on in what was kept back"
                );
            }
        } else if self.lock().len >= self.whole && self.short.send_replace(false) {
            tracing::info!("the disk has space again: what is kept back for a full one is whole");
        }
        filled
    }

    fn write_missing(&self) -> io::Result<()> {
        let file = match self.disk.open(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.disk.create(&self.path)?,
            other => other?,
        };
        let zeros = vec![0; PIECE as usize];
        loop {
            let from = self.lock().len;
            if from >= self.whole {
                return Ok(());
            }
            let end = (from + self.stage).min(self.whole);
            let written = (from..end).step_by(PIECE as usize).try_for_each(|at| {
                if self.lock().stopping {
                    return Err(io::Error::other("closing"));
                }
                file.write_at(&zeros[..PIECE.min(end - at) as usize], at)?;
                file.sync_data()
            });
            let mut state = self.lock();
            if state.len != from || written.is_err() {
                // Not all of a stage, or one was given back meanwhile: the space belongs to whoever needs it.
                file.set_len(state.len)?;
                file.sync_data()?;
                written?;
                return Err(io::ErrorKind::StorageFull.into());
            }
            state.len = end;
        }
    }

    /// Gives back one stage; false if nothing is left.
    fn release(&self) -> bool {
        let mut state = self.lock();
        if state.len == 0 {
            return false;
        }
        let len = state.len.saturating_sub(self.stage);
        // A file system may free blocks only with its next transaction: the sync makes it.
        let cut = self.disk.open(&self.path).and_then(|file| {
            file.set_len(len)?;
            file.sync_data()
        });
        if let Err(e) = cut {
            tracing::warn!("the space kept back for a full disk cannot be given back: {e}");
            return false;
        }
        state.len = len;
        state.given = true;
        drop(state);
        self.wake.notify_all();
        if !self.short.send_replace(true) {
            tracing::warn!("the disk is full: changes are refused, the rest goes on in what was kept back");
        }
        true
    }

    /// Makes a call, again for each stage of the ballast while there is no space for it.
    pub(super) fn relieved<T>(&self, call: impl Fn() -> io::Result<T>) -> io::Result<T> {
        loop {
            match call() {
                Err(e) if is_no_space(&e) && self.release() => {}
                other => return other,
            }
        }
    }
}
