//! One key's entry leaves before all others: a dead letter that makes room.
//!
//! Must never send what its key may not send by itself.

use super::{Keys, Phase};
use crate::delivery::slots::SlotRef;
use crate::queue::Stored;

impl Keys {
    /// The first entry of one key leaves, if it may.
    pub(in crate::delivery) fn start_key_of(&mut self, stored: &Stored) -> Option<SlotRef> {
        let key = *self.by_hash.get(&stored.key_hash())?;
        if self.keys[key as usize].phase != Phase::Ready {
            return None;
        }
        self.ready.retain(|ready| *ready != key);
        Some(self.launch(key))
    }
}
