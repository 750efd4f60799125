//! Dead letters that an operator wants to be sent again, beside the lane's own entries and within their
//! bounds.
//!
//! A letter waits until its key has nothing else in the lane, and is the key's one entry then: it is exempt
//! from the key's order, and never out together with another event of its key. Must never settle anything
//! with the reader: a letter is settled already, and only its own log says what became of it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tidings_connector::{Cause, Header, Message};
use tokio::time::Instant;

use super::lane::Lane;
use super::slots::SlotRef;
use crate::fail;
use crate::queue::Stored;
use crate::queue::dead::{Blocked, Letter};

/// Letters in memory at once; more wait in their log. So many of busy keys let the others wait.
const WINDOW: usize = 1_024;
/// Attempts at an open target before a replay has failed.
const TRIES: u32 = 5;
/// Says which replay of its event a message is, from 1: a far side that remembers ids tells them apart.
pub(super) const HEADER: &str = "tidings-replay";

/// Letters on their way to be sent again.
#[derive(Default)]
pub(super) struct Replays {
    /// Read, and not among the keys.
    waiting: VecDeque<Replay>,
    /// Among the keys, by offset.
    among: HashMap<u64, Replay>,
    /// Asked for, and not answered.
    asked: usize,
}

struct Replay {
    letter: Box<Letter>,
    stored: Arc<Stored>,
    /// Attempts that failed in this replay.
    tries: u32,
    due: Option<Instant>,
}

impl Replays {
    /// A letter was read.
    pub(super) fn loaded(&mut self, letter: Box<Letter>) {
        let stored = Arc::new(letter.stored());
        self.waiting.push_back(Replay { letter, stored, tries: 0, due: None });
    }

    /// So many that were asked for were read, or are none any more.
    pub(super) fn answered(&mut self, asked: usize) {
        self.asked -= asked.min(self.asked);
    }

    /// The lane forgets its keys: those that are among them wait again.
    pub(super) fn recall(&mut self) {
        self.waiting.extend(self.among.drain().map(|(_, replay)| replay));
    }

    /// True if the entry is a letter.
    pub(super) fn has(&self, stored: &Stored) -> bool {
        !self.among.is_empty() && self.among.contains_key(&stored.position.offset)
    }

    /// When a letter wants to be tried again.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        self.waiting.iter().filter_map(|replay| replay.due).filter(|due| *due > now).min()
    }

    /// Marks a message that sends a letter again.
    pub(super) fn mark(&self, stored: &Stored, message: &mut Message) {
        if self.among.is_empty() {
            return;
        }
        if let Some(replay) = self.among.get(&stored.position.offset) {
            let number = replay.letter.replays.saturating_add(1).to_string();
            message.headers.push(Header { name: HEADER, value: number.into() });
        }
    }
}

impl Lane {
    /// Asks for letters to send again, and puts among the keys what may be sent.
    pub(super) fn admit_replays(&mut self, now: Instant) {
        let Some(dead) = &self.letters.dead else { return };
        let idle = self.paused || self.stop_by.is_some();
        if idle || !matches!(self.letters.blocked, None | Some(Blocked::Full(_))) {
            return;
        }
        let replays = &mut self.letters.replays;
        let room = WINDOW.saturating_sub(replays.waiting.len() + replays.among.len() + replays.asked);
        let ask = room.min(dead.replays_waiting());
        if ask > 0 {
            replays.asked += ask;
            dead.load_replays(ask);
        }
        for _ in 0..replays.waiting.len() {
            let Some(replay) = replays.waiting.pop_front() else { break };
            let stored = Arc::clone(&replay.stored);
            if replay.due.is_some_and(|due| due > now) || self.keys.knows(&stored) {
                replays.waiting.push_back(replay);
            } else {
                replays.among.insert(stored.position.offset, replay);
                self.keys.take(stored);
            }
        }
    }

    /// The next letter to leave while nothing else may.
    pub(super) fn start_replay(&mut self) -> Option<SlotRef> {
        let mut letters = self.letters.replays.among.values();
        letters.find_map(|replay| self.keys.start_key_of(&replay.stored))
    }

    /// True if only letters may be sent now, and there is none.
    pub(super) fn lacks_replays(&self) -> bool {
        self.letters.blocked.is_some() && self.letters.replays.among.is_empty()
    }

    /// True if the entry in this slot is a letter.
    pub(super) fn is_replay(&self, slot: SlotRef) -> bool {
        self.letters.replays.has(self.keys.stored(slot))
    }

    /// An entry was delivered. True if it was a letter: then its own log settles it.
    pub(super) fn replay_delivered(&mut self, offset: u64) -> bool {
        let (letters, dead) = (&mut self.letters.replays.among, &self.letters.dead);
        if letters.is_empty() || letters.remove(&offset).is_none() {
            return false;
        }
        fail::point("dead.replay");
        if let Some(dead) = dead {
            dead.replayed(offset);
        }
        true
    }

    /// A letter was not delivered: it leaves its key to the others, and is tried again later or stays what it
    /// is.
    pub(super) fn replay_failed(&mut self, slot: SlotRef, why: Cause, is_final: bool, now: Instant) {
        let stored = self.keys.delivered(slot);
        let replay = self.letters.replays.among.remove(&stored.position.offset);
        let (Some(mut replay), Some(dead)) = (replay, &self.letters.dead) else { return };
        replay.letter.attempts = replay.letter.attempts.saturating_add(1);
        replay.letter.last_unix_ms = (self.ambient.unix_ms)();
        (replay.letter.class, replay.letter.text) = (why.class.label().into(), Arc::clone(&why.text));
        // A closed target says nothing about the letter.
        replay.tries += u32::from(!self.health.is_closed());
        if is_final || replay.tries >= TRIES {
            replay.letter.replays = replay.letter.replays.saturating_add(1);
            dead.replay_failed(*replay.letter);
        } else {
            replay.due = Some(now + self.pace.delay(replay.tries, &mut self.rng));
            self.letters.replays.waiting.push_back(replay);
        }
        self.note(why);
    }
}
