//! The worker: one at a time, only while there is something to do; one write and one sync for all that waits.
//!
//! Must never tell anybody of a letter before its sync returned, and never drop one that cannot be written.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::file::LogFile;
use super::record::{self, BATCH_BYTES};
use super::{Blocked, Gone, Job, Letter, News, Shared};
use crate::fail;

/// After a failure the next try waits so long at first …
const RETRY_MIN: Duration = Duration::from_millis(100);
/// … and, after twice the time at every failure, at most so long.
const RETRY_MAX: Duration = Duration::from_secs(10);

/// What one sync makes true.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) records: Vec<u8>,
    /// Letters that are gone with it: each is so once.
    pub(super) going: HashSet<u64>,
    /// To do again if it fails.
    pub(super) burials: Vec<Letter>,
    pub(super) jobs: Vec<Job>,
}

impl Shared {
    /// Lets the worker begin, if it does not run.
    pub(super) fn kick(self: &Arc<Self>) {
        let mut state = self.state();
        state.again = true;
        if state.running || state.retired {
            return;
        }
        state.running = true;
        self.idle.send_replace(false);
        drop(state);
        let shared = Arc::clone(self);
        self.runtime.spawn_blocking(move || {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| shared.work()));
            if done.is_err() {
                // A bug: nothing was called durable, so everything that waits goes on waiting.
                shared.failed(&io::Error::other("the worker ended by a bug; restart to go on"));
            }
        });
    }

    /// Works until nothing is left to do that can be done.
    fn work(self: &Arc<Self>) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.is_done() {
            let mut worked = false;
            while let Some(batch) = self.next() {
                worked = true;
                match self.perform(&mut file, &batch) {
                    Ok(at) => self.publish(&file, at, batch),
                    Err(error) => {
                        let mut state = self.state();
                        batch.burials.into_iter().rev().for_each(|letter| state.burials.push_front(letter));
                        batch.jobs.into_iter().rev().for_each(|job| state.jobs.push_front(job));
                        state.ending = 0;
                        drop(state);
                        return self.failed(&error);
                    }
                }
            }
            if worked && !self.state().retired {
                file.seal();
                if let Err(error) = self.shrink(&mut file) {
                    tracing::warn!(%error, "{} could not be written anew; it is tried again", self.name);
                }
            }
        }
    }

    /// True if nothing came since the last look: then the worker has ended.
    fn is_done(&self) -> bool {
        let mut state = self.state();
        let done = !std::mem::take(&mut state.again);
        state.running = !done;
        if done {
            // With the lock: whoever starts it anew says "not idle" behind this, never before it.
            self.idle.send_replace(true);
        }
        done
    }

    /// What to do next, if anything can be done.
    fn next(&self) -> Option<Batch> {
        let mut state = self.state();
        if state.retired {
            return None;
        }
        let mut batch = Batch::default();
        state.ending = 0;
        while let Some(job) = state.jobs.pop_front() {
            state.ending += usize::from(job.ends_a_replay());
            match job {
                Job::Load(offsets) => {
                    let letters: Vec<_> =
                        offsets.iter().map(|o| (*o, state.index.letters.get(o).copied())).collect();
                    let reader = state.reader.clone();
                    drop(state);
                    let asked = letters.len();
                    let found = self.load(reader.as_deref(), letters);
                    state = self.state();
                    state.news.extend(found.into_iter().map(|letter| News::Replay(Box::new(letter))));
                    state.news.push(News::Loaded(asked));
                    self.arrived.notify_one();
                }
                Job::Accept(done) => {
                    batch.jobs.push(Job::Accept(done));
                    return Some(batch);
                }
                Job::Gone { offsets, how, done } => {
                    let letters = &state.index.letters;
                    let known = |o: &u64| letters.get(o).map(|known| (*o, known.bare));
                    let marks: Vec<(u64, u32)> =
                        offsets.iter().filter_map(known).filter(|(o, _)| batch.going.insert(*o)).collect();
                    let offsets = marks.iter().map(|(offset, _)| *offset).collect();
                    record::put_gone(how, &marks, &mut batch.records);
                    batch.jobs.push(Job::Gone { offsets, how, done });
                    // A purge is a batch of its own: its answer says how many are durable.
                    if how == Gone::Purged || batch.records.len() >= BATCH_BYTES {
                        return Some(batch);
                    }
                }
                Job::Wish { offsets, done } => {
                    record::put_wish(&offsets, &mut batch.records);
                    batch.jobs.push(Job::Wish { offsets, done });
                    return Some(batch);
                }
                Job::Update(letter) => {
                    if state.index.letters.contains_key(&letter.position.offset) {
                        record::put_letter(&letter, &mut batch.records);
                        batch.jobs.push(Job::Update(letter));
                    }
                }
            }
        }
        self.bury_some(&mut state, &mut batch);
        if batch.records.is_empty() {
            state.ending = 0;
            return None;
        }
        Some(batch)
    }

    /// Writes a batch and makes it durable.
    fn perform(&self, file: &mut LogFile, batch: &Batch) -> io::Result<u64> {
        if let [Job::Accept(_)] = &batch.jobs[..] {
            let lost = self.state().missing;
            let before = file.carried;
            file.carried.lost += lost;
            return self.rewrite(file).map(|()| 0).inspect_err(|_| file.carried = before);
        }
        if file.wants_rewrite() {
            self.rewrite(file)?;
        }
        file.append(&batch.records)
    }

    /// The batch is durable: says so to everybody.
    fn publish(&self, file: &LogFile, at: u64, batch: Batch) {
        let mut state = self.state();
        let mut from = 0;
        while let Some((kind, content, whole)) = record::record(&batch.records[from..]) {
            state.index.apply(at + from as u64, kind, content);
            from += whole;
        }
        state.reader = file.reader();
        (state.failures, state.ending) = (0, 0);
        state.written += batch.burials.len() as u64;
        if matches!(state.blocked, Some(Blocked::Failing(_))) {
            self.set_blocked(&mut state, None);
        }
        drop(state);
        let buried: Vec<u64> = batch.burials.iter().map(|letter| letter.position.offset).collect();
        if !buried.is_empty() {
            self.ledger.buried(&buried);
            fail::point("dead.settled");
        }
        for job in batch.jobs {
            match job {
                Job::Gone { offsets, how, done } => {
                    self.ledger.gone(offsets.len() as u64, how);
                    fail::point(match how {
                        Gone::Purged => "dead.purge.mid",
                        Gone::Replayed => "dead.replay.after",
                    });
                    done.map(|done| done.send(offsets.len() as u64));
                }
                Job::Accept(done) => {
                    let mut state = self.state();
                    let lost = std::mem::take(&mut state.missing);
                    state.damaged = None;
                    self.set_blocked(&mut state, None);
                    drop(state);
                    self.ledger.lost(lost);
                    let _ = done.send(Ok(lost));
                }
                Job::Wish { offsets, done } => drop(done.send(self.wished(offsets))),
                Job::Update(_) | Job::Load(_) => {}
            }
        }
        if !buried.is_empty() {
            self.state().news.extend(buried.into_iter().map(News::Buried));
            self.arrived.notify_one();
        }
    }

    /// Letters are wanted again, durably: gives how many were not on their way.
    fn wished(&self, offsets: Vec<u64>) -> u64 {
        let mut state = self.state();
        let before = state.replaying.len();
        for offset in offsets {
            if state.index.letters.contains_key(&offset) && state.replaying.insert(offset) {
                state.replays.push_back(offset);
            }
        }
        self.arrived.notify_one();
        (state.replaying.len() - before) as u64
    }

    /// Nothing was made durable: says so, and tries again later.
    fn failed(self: &Arc<Self>, error: &io::Error) {
        let mut state = self.state();
        state.failed += 1;
        state.failures = state.failures.saturating_add(1);
        let wait = RETRY_MIN.saturating_mul(1 << state.failures.min(10)).min(RETRY_MAX);
        let text = format!("{} cannot be written: {error}; it is tried again", self.name);
        tracing::error!(target = self.target.0, "{text}");
        if !matches!(state.blocked, Some(Blocked::Damaged(_))) {
            self.set_blocked(&mut state, Some(Blocked::Failing(text.into())));
        }
        state.running = false;
        self.idle.send_replace(true);
        drop(state);
        let shared = Arc::downgrade(self);
        self.runtime.spawn(async move {
            tokio::time::sleep(wait).await;
            shared.upgrade().iter().for_each(Shared::kick);
        });
    }
}
