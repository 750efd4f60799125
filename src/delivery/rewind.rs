//! Going back: a lane lets everything come home, forgets what it has, and begins again where an operator
//! says.
//!
//! Must never go back while something is out, nor send anything again before the queue has made it durable.

use std::sync::PoisonError;

use tidings_connector::{Header, Message};
use tokio::sync::oneshot;

use super::keys::Keys;
use super::lane::Lane;
use super::letters::Letters;
use super::replays::HEADER;
use super::target::{Shared, TargetHandle};
use crate::queue::{Reader, RewindError, Rewound, Stored};

/// An operator's wish to see everything from an offset on again, and where the answer goes.
pub(super) struct RewindWish {
    from: u64,
    rematch: bool,
    answer: oneshot::Sender<Result<Rewound, RewindError>>,
}

impl TargetHandle {
    /// Delivers everything from offset `from` on once more, in order, each message marked. Answers once the
    /// row that says so is durable: after what is out has come back, at most an attempt's deadline later. A
    /// second wish takes the place of one that still waits. With `rematch` also what today's rules match is
    /// delivered, although the target was not given it when it happened: all of it that is in the log now.
    pub async fn replay(&self, from: u64, rematch: bool) -> Result<Rewound, RewindError> {
        let (answer, answered) = oneshot::channel();
        self.wish_rewind(RewindWish { from, rematch, answer });
        let gone = || RewindError::NotDurable("the lane ended, or another replay was asked for".to_owned());
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl Shared {
    /// True if somebody waits for the lane to go back.
    pub(super) fn wants_rewind(&self) -> bool {
        self.rewind.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

impl Letters {
    /// True if a lane that goes back need not wait for anything here: nothing is on trial, and what is to be
    /// buried cannot be.
    pub(super) fn may_be_withdrawn(&self) -> bool {
        self.condemned.is_empty() && (self.burying.is_empty() || self.blocked.is_some())
    }

    /// The lane forgets its keys: letters to send again wait again, and what was to be buried is a hole.
    pub(super) fn begin_anew(&mut self) {
        self.burying.clear();
        self.answered.clear();
        self.replays.recall();
    }
}

impl Lane {
    /// True if the lane is to go back, and nothing is out. What waits for room among the dead letters is out
    /// of the way too: it is taken back, since that may last for ever.
    pub(super) fn may_rewind(&self) -> bool {
        self.rewinding && self.out() == 0 && self.letters.may_be_withdrawn()
    }

    /// Goes back. Everything that was delivered must be settled.
    pub(super) async fn rewind(&mut self, reader: &mut dyn Reader) {
        self.rewinding = false;
        let wish = self.shared.rewind.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(RewindWish { from, rematch, answer }) = wish else { return };
        // What is not given back here is settled, and no hole any more.
        let withdrawn = match &self.letters.dead {
            Some(dead) => dead.withdraw().await,
            None => Vec::new(),
        };
        let result = reader.rewind(from, rematch).await;
        let target_name = self.shared.name();
        match &result {
            Ok(Rewound { from, until, rematch }) => {
                tracing::info!(
                    target_name,
                    from,
                    until,
                    rematch,
                    "everything from an offset on is delivered again"
                );
                self.keys = Keys::within(self.target.limits.max_in_flight);
                self.letters.begin_anew();
                self.loading.forget();
                self.restore(reader);
            }
            // The reader may be back there, and what the lane has may come a second time: the process ends.
            Err(RewindError::NotDurable(_)) => self.readable = false,
            Err(_) => {
                let dead = self.letters.dead.iter();
                dead.for_each(|dead| withdrawn.iter().cloned().for_each(|letter| dead.bury(letter)));
            }
        }
        // Nobody may wait any more: it is done all the same.
        let _ = answer.send(result);
    }

    /// Marks a message that is a repetition which an operator asked for.
    pub(super) fn mark_repeat(&self, stored: &Stored, message: &mut Message) {
        if !self.repeats {
            return;
        }
        if let Some(serial) = self.shared.progress().replay_of(stored.position.offset) {
            message.headers.push(Header { name: HEADER, value: serial.to_string().into() });
        }
    }
}
