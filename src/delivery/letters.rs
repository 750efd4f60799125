//! Rejected entries: on trial, then in the dead letters, or held.
//!
//! ```text
//!   rejected ──► condemned ──► being buried ──► settled, the key goes on
//!                    │  the target is closed
//!                    └──► tried again when it recovers
//! ```
//!
//! Until then the entry counts as in flight for its key, so that nothing of the key overtakes it. Must never
//! let a key go on before its letter is durable, nor bury anything while the verdict is open.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use tidings_connector::Cause;
use tokio::time::Instant;

use super::lane::Lane;
use super::replays::Replays;
use super::slots::SlotRef;
use super::trial::Trial;
use crate::config::OnReject;
use crate::queue::Column;
use crate::queue::dead::{Blocked, DeadLetters, Letter, News};

/// A verdict waits so long for other evidence.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// What a lane has of rejected entries.
#[derive(Default)]
pub(super) struct Letters {
    /// None: they are held.
    pub(super) dead: Option<DeadLetters>,
    pub(super) trial: Trial,
    /// The target was closed because of rejections.
    pub(super) storm: bool,
    pub(super) condemned: VecDeque<Condemned>,
    /// By offset: being written.
    pub(super) burying: HashMap<u64, SlotRef>,
    /// By offset: rejected in a storm, and how many successes there were before.
    appealed: HashMap<u64, u64>,
    /// The slots of both: they count as in flight, and nothing of theirs is out.
    pub(super) answered: HashSet<u64>,
    /// Why nothing can be buried, hence nothing is sent.
    pub(super) blocked: Option<Blocked>,
    news: Vec<News>,
    pub(super) replays: Replays,
}

pub(super) struct Condemned {
    slot: SlotRef,
    why: Cause,
    until: Instant,
    /// Successes before it.
    successes: u64,
}

impl Letters {
    /// Entries whose key counts as in flight, and that are not out.
    pub(super) fn len(&self) -> usize {
        self.answered.len()
    }

    /// True if the entry waits here, and is not out.
    pub(super) fn has(&self, slot: SlotRef) -> bool {
        !self.answered.is_empty() && self.answered.contains(&slot.0)
    }

    /// An entry was rejected while the target is closed: it is heard again.
    pub(super) fn appeal(&mut self, offset: u64) {
        if self.storm {
            self.appealed.entry(offset).or_insert(self.trial.successes());
        }
    }

    /// An entry was delivered: nobody asks any more whether it was rejected.
    pub(super) fn forget_appeal(&mut self, offset: u64) {
        if !self.appealed.is_empty() {
            self.appealed.remove(&offset);
        }
    }

    /// True if a stop has nothing to wait for here.
    pub(super) fn is_quiet(&self) -> bool {
        self.burying.is_empty() || self.blocked.is_some()
    }

    /// When the next verdict falls without other evidence.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.condemned.front().map(|condemned| condemned.until)
    }

    /// Waits until there is news of the dead letters. Cancel safe.
    pub(super) async fn arrived(&self) {
        match &self.dead {
            Some(dead) => dead.arrived().await,
            None => std::future::pending().await,
        }
    }

    /// Begins: what an earlier lane had to send again is this one's.
    pub(super) fn begin(&mut self, dead: Option<DeadLetters>, max_bytes: u64) {
        if let Some(dead) = &dead {
            dead.recall_replays();
            dead.set_max_bytes(max_bytes);
        }
        self.dead = dead;
    }
}

impl Lane {
    /// Entries that are out.
    pub(super) fn out(&self) -> usize {
        self.keys.in_flight() - self.letters.len()
    }

    /// The entry was rejected while the target is open: it is put on trial.
    pub(super) fn condemn(&mut self, slot: SlotRef, why: &Cause, now: Instant) {
        let hash = self.keys.hash(slot);
        let letters = &mut self.letters;
        let appeal = letters.appealed.get(&self.keys.stored(slot).position.offset);
        if appeal.is_some_and(|successes| letters.trial.successes() > *successes) {
            // The target took other events meanwhile: this says nothing new about it.
            if letters.trial.blames_events() {
                letters.answered.insert(slot.0);
                return self.put_aside(slot, why);
            }
            let failures = self.keys.failed(slot);
            let wait = self.pace.delay(failures, &mut self.rng);
            return self.keys.delay(slot, now + wait);
        }
        letters.trial.rejected(hash);
        letters.answered.insert(slot.0);
        let successes = letters.trial.successes();
        let condemned = Condemned { slot, why: why.clone(), until: now + PATIENCE, successes };
        letters.condemned.push_back(condemned);
        if self.letters.trial.is_storm() {
            self.close_for_storm(why, now);
        } else {
            self.count_failure(hash, why, now);
        }
    }

    fn close_for_storm(&mut self, why: &Cause, now: Instant) {
        tracing::warn!(
            target_name = self.shared.name(),
            "too many keys are rejected: it is the target's fault"
        );
        self.close(true, why, now);
        self.letters.storm = self.letters.trial.closed_after(0);
    }

    /// Judges what is on trial, as far as there is evidence.
    pub(super) fn judge(&mut self, now: Instant) {
        if self.letters.condemned.is_empty() {
            return;
        }
        if self.health.is_closed() {
            // It says something about the target: they are tried again when it recovers.
            for condemned in std::mem::take(&mut self.letters.condemned) {
                self.letters.answered.remove(&condemned.slot.0);
                self.letters.appeal(self.keys.stored(condemned.slot).position.offset);
                self.keys.delay(condemned.slot, now);
            }
            return;
        }
        let trial = &self.letters.trial;
        let (good, successes) = (trial.blames_events() && trial.knows_enough(), trial.successes());
        while let Some(condemned) = self.letters.condemned.pop_front() {
            let evidence = good && successes > condemned.successes;
            if evidence || (condemned.until <= now && !self.letters.trial.is_open()) {
                self.put_aside(condemned.slot, &condemned.why);
                continue;
            }
            let late = (condemned.until <= now).then(|| condemned.why.clone());
            self.letters.condemned.push_front(condemned);
            if let Some(why) = late {
                self.close_for_storm(&why, now);
                return self.judge(now);
            }
            break;
        }
    }

    /// The event is to blame: it is buried, or its key held.
    fn put_aside(&mut self, slot: SlotRef, why: &Cause) {
        let stored = self.keys.stored(slot);
        let offset = stored.position.offset;
        self.letters.appealed.remove(&offset);
        if self.repeats && self.shared.progress().replay_of(offset).is_some() {
            // Settled long ago, or never matched: this changes nothing in the books. Whoever asked reads it.
            let (target_name, class) = (self.shared.name(), why.class.label());
            let what = "rejected, and given only because a replay asked for it: no dead letter";
            tracing::warn!(target_name, offset, class, cause = %why.text, "{what}");
            self.letters.answered.remove(&slot.0);
            self.keys.delivered(slot);
            self.settled.push((offset, Column::DeadLettered));
            self.settle_by.get_or_insert((self.ambient.now)());
            return;
        }
        let letter = match (&self.letters.dead, self.target.limits.on_reject) {
            (Some(dead), OnReject::DeadLetter) => Letter::of(stored, self.number).map(|l| (dead, l)),
            _ => None,
        };
        let Some((dead, letter)) = letter else {
            self.letters.answered.remove(&slot.0);
            self.keys.rejected(slot);
            return self.hold(slot, None, why);
        };
        let (offset, now) = (letter.position.offset, (self.ambient.unix_ms)());
        let letter = Letter {
            class: why.class.label().into(),
            text: std::sync::Arc::clone(&why.text),
            attempts: self.keys.attempt(slot),
            first_unix_ms: self.keys.first_unix_ms(slot).unwrap_or(now),
            last_unix_ms: now,
            since_unix_ms: now,
            ..letter
        };
        let (target_name, class) = (self.shared.name(), why.class.label());
        tracing::warn!(target_name, offset, class, cause = %why.text, "rejected: it becomes a dead letter");
        self.letters.burying.insert(offset, slot);
        dead.bury(letter);
    }

    /// Takes what became of letters.
    pub(super) fn take_news(&mut self) {
        let Some(dead) = &self.letters.dead else { return };
        let mut news = std::mem::take(&mut self.letters.news);
        dead.news(&mut news);
        self.letters.blocked = dead.blocked();
        for news in news.drain(..) {
            match news {
                News::Buried(offset) => {
                    if let Some(slot) = self.letters.burying.remove(&offset) {
                        self.letters.answered.remove(&slot.0);
                        self.keys.delivered(slot);
                    }
                }
                News::Replay(letter) => self.letters.replays.loaded(letter),
                News::Loaded(asked) => self.letters.replays.answered(asked),
            }
        }
        self.letters.news = news;
    }
}
