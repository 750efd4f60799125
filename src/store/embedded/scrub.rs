//! The background scrub: reads every body again and again, slowly, and says which do not fit their checksum.
//!
//! A pass goes over all rows in key order and begins at most once a day; the row at which it stands is
//! written with every checkpoint, so that a restart goes on there. Must never change or remove anything,
//! hold a snapshot of the index while it reads bodies, nor call damaged what was replaced meanwhile.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::apply::Shared;
use super::examine::Look;
use super::index::{Batch, Index, Reads, Space};
use super::pace::Throttle;
use crate::store::{Finding, ScrubStatus, StoreError};

/// Rows taken from the index at once …
const ROWS: usize = 64;
/// … and what looking at one counts as, in bytes of the rate.
const ROW_COST: u64 = 512;
/// From the beginning of a pass to that of the next one, if it is not longer by itself.
const PASS: Duration = Duration::from_secs(24 * 3_600);
/// Damaged rows that are remembered, and those that are told one by one.
const KNOWN: usize = 100_000;
const TOLD: usize = 1_000;
/// The row of [`Space::Meta`] that says where it stands: a digit for the space, then the key.
const META_SCRUB: &[u8] = b"scrub";
/// Spaces whose rows promise bytes.
const SPACES: [Space; 1 + Space::WITH_BODIES.len()] = {
    let mut spaces = [Space::Parts; 1 + Space::WITH_BODIES.len()];
    let mut at = 0;
    while at < Space::WITH_BODIES.len() {
        spaces[at] = Space::WITH_BODIES[at];
        at += 1;
    }
    spaces
};

/// Where it stands: which of [`SPACES`], and the last row that was looked at.
type Position = (u8, Vec<u8>);

/// What the scrub, and who asks for it, share.
#[derive(Default)]
pub(super) struct Scrub {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    stop: bool,
    position: Position,
    /// The position that a checkpoint holds.
    written: Position,
    /// Damaged rows, as they were when they were looked at last, with the first finding of each.
    known: BTreeMap<Position, Finding>,
    bytes: u64,
    passes: u64,
}

impl Scrub {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it has seen.
    pub(super) fn status(&self) -> ScrubStatus {
        let state = self.state();
        ScrubStatus {
            damaged: state.known.len() as u64,
            damage: state.known.values().take(TOLD).cloned().collect(),
            bytes: state.bytes,
            passes: state.passes,
        }
    }

    /// True if no checkpoint holds where it stands.
    pub(super) fn moved(&self) -> bool {
        let state = self.state();
        state.position != state.written
    }

    /// Adds the row that says where it stands, if no checkpoint holds it.
    pub(super) fn put_row(&self, batch: &mut Batch) {
        let mut state = self.state();
        if state.position == state.written {
            return;
        }
        state.written = state.position.clone();
        let (space, key) = &state.position;
        batch.put(Space::Meta, META_SCRUB, |out| {
            out.push(*space);
            out.extend_from_slice(key);
        });
    }

    /// Goes on where the last checkpoint says.
    pub(super) fn go_on(&self, index: &dyn Index) -> Result<(), StoreError> {
        if let Some(row) = index.get(Space::Meta, META_SCRUB)?
            && let Some((space, key)) = row.split_first()
            && usize::from(*space) < SPACES.len()
        {
            let mut state = self.state();
            state.position = (*space, key.to_vec());
            state.written = state.position.clone();
        }
        Ok(())
    }

    /// Ends it.
    pub(super) fn stop(&self) {
        self.state().stop = true;
        self.wake.notify_all();
    }

    /// Waits so long; true if it is to end.
    fn wait(&self, time: Duration) -> bool {
        let waited = self.wake.wait_timeout_while(self.state(), time, |state| !state.stop);
        waited.unwrap_or_else(PoisonError::into_inner).0.stop
    }
}

/// Reads at `rate` bytes a second until it is stopped.
pub(super) fn run(shared: &Arc<Shared>, rate: u64) {
    let (mut throttle, mut day) = (Throttle::new(rate), Throttle::new(rate));
    day.pause(PASS);
    loop {
        match slice(shared, &mut throttle) {
            Ok(true) => {
                let left = day.patience().unwrap_or(PASS);
                day.pause(left + PASS);
                if shared.scrub.wait(left) {
                    return;
                }
            }
            Ok(false) => {}
            Err(error) => {
                tracing::error!(%error, "the scrub cannot read the index; it tries again in an hour");
                throttle.pause(PASS / 24);
            }
        }
        if shared.scrub.wait(throttle.patience().unwrap_or(PASS)) {
            return;
        }
    }
}

/// Looks at the next rows; true at the end of a pass.
fn slice(shared: &Shared, throttle: &mut Throttle) -> Result<bool, StoreError> {
    let (place, from) = shared.scrub.state().position.clone();
    let space = SPACES[usize::from(place)];
    let bound = if from.is_empty() { Bound::Unbounded } else { Bound::Excluded(&*from) };
    let mut rows = Vec::with_capacity(ROWS);
    shared.index.scan(space, bound, None, &mut |key, row| {
        rows.push((key.to_vec(), row.to_vec()));
        Ok(rows.len() < ROWS)
    })?;
    for (key, row) in &rows {
        let (finding, read) = look(shared, space, key, row, throttle)?;
        let mut state = shared.scrub.state();
        if state.stop {
            return Ok(false);
        }
        state.bytes += read;
        note(&mut state, (place, key.clone()), finding);
        drop(state);
        if shared.scrub.wait(throttle.patience().unwrap_or_default()) {
            return Ok(false);
        }
    }
    if rows.len() == ROWS {
        return Ok(false);
    }
    let mut state = shared.scrub.state();
    let last = usize::from(place) + 1 == SPACES.len();
    let next = if last { 0 } else { place + 1 };
    // What lies behind the last row is gone.
    let end = (place + 1, Vec::new());
    let behind: Vec<_> = state.known.range(state.position.clone()..end).map(|(at, _)| at.clone()).collect();
    let here = state.position.clone();
    behind.into_iter().filter(|at| *at != here).for_each(|at| drop(state.known.remove(&at)));
    state.position = (next, Vec::new());
    state.passes += u64::from(last);
    Ok(last)
}

/// The first finding about a row, unless the row is another one by now; and how many bytes were read.
fn look(
    shared: &Shared,
    space: Space,
    key: &[u8],
    row: &[u8],
    throttle: &mut Throttle,
) -> Result<(Option<Finding>, u64), StoreError> {
    let mut read = 0;
    let mut pace = |bytes: u64| {
        read += bytes;
        throttle.spend(bytes);
        !shared.scrub.wait(throttle.patience().unwrap_or_default())
    };
    let found = Look::at(&shared.packs, &shared.blobs, (space, key, row), &mut pace).found;
    throttle.spend(ROW_COST);
    let Some(finding) = found.into_iter().next() else { return Ok((None, read)) };
    let same = shared.index.get(space, key)?.as_deref() == Some(row);
    Ok((same.then_some(finding), read))
}

/// Remembers what came of a look, and forgets rows that are gone.
fn note(state: &mut State, at: Position, finding: Option<Finding>) {
    let from = (Bound::Excluded(state.position.clone()), Bound::Included(at.clone()));
    let before = if state.position < at {
        state.known.range(from).map(|(at, _)| at.clone()).collect()
    } else {
        Vec::new()
    };
    let known = before.contains(&at);
    before.into_iter().for_each(|at| drop(state.known.remove(&at)));
    if let Some(finding) = finding {
        if !known {
            let Finding { kind, file, at, what, .. } = &finding;
            tracing::error!(?kind, file, at, what, "damage; `tidings store show` names the object");
        }
        if state.known.len() < KNOWN {
            state.known.insert(at.clone(), finding);
        }
    }
    state.position = at;
}

/// A pass now, for tests: the next one is a day away.
#[cfg(test)]
pub(super) fn again(shared: &Shared) {
    let mut throttle = Throttle::new(u64::MAX);
    while !slice(shared, &mut throttle).expect("the index can be read") {}
}
