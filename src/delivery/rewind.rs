//! Going back: a lane lets everything come home, forgets what it has, and begins again where an operator
//! says.
//!
//! Must never go back while something is out, nor send anything again before the queue has made it durable.

use std::sync::PoisonError;

use tidings_connector::{Header, Message};
use tokio::sync::oneshot;

use super::keys::Keys;
use super::lane::Lane;
use super::replays::HEADER;
use super::target::{Shared, TargetHandle};
use crate::queue::{Reader, RewindError, Rewound, Stored};

/// An operator's wish to see everything from an offset on again, and where the answer goes.
pub(super) struct RewindWish {
    from: u64,
    answer: oneshot::Sender<Result<Rewound, RewindError>>,
}

impl TargetHandle {
    /// Delivers everything from offset `from` on once more, in order, each message marked. Answers once the
    /// row that says so is durable: after what is out has come back, at most an attempt's deadline later. A
    /// second wish takes the place of one that still waits.
    pub async fn replay(&self, from: u64) -> Result<Rewound, RewindError> {
        let (answer, answered) = oneshot::channel();
        self.wish_rewind(RewindWish { from, answer });
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

impl Lane {
    /// True if the lane is to go back, and nothing is out.
    pub(super) fn may_rewind(&self) -> bool {
        self.rewinding && self.keys.in_flight() == 0
    }

    /// Goes back. Everything that was delivered must be settled.
    pub(super) async fn rewind(&mut self, reader: &mut dyn Reader) {
        self.rewinding = false;
        let wish = self.shared.rewind.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(RewindWish { from, answer }) = wish else { return };
        let result = reader.rewind(from).await;
        let target_name = self.shared.name();
        match &result {
            Ok(Rewound { from, until }) => {
                tracing::info!(target_name, from, until, "everything from an offset on is delivered again");
                self.keys = Keys::within(self.target.limits.max_in_flight);
                self.letters.replays.recall();
                self.loading.forget();
                self.restore(reader);
            }
            // The reader may be back there, and what the lane has may come a second time: the process ends.
            Err(RewindError::NotDurable(_)) => self.readable = false,
            Err(_) => {}
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
