//! Rejections: what the far side, or the encoder, says can never be accepted.
//!
//! Must never drop the entry, and must never believe a rejection while the target is closed.

use tidings_connector::Cause;
use tokio::time::Instant;

use super::lane::Lane;
use super::slots::SlotRef;

impl Lane {
    /// The event can never be accepted: it is put on trial. Where everything is rejected, it is not the
    /// event's fault.
    pub(super) fn reject(&mut self, slot: SlotRef, why: Cause, now: Instant) {
        if self.health.is_closed() {
            let probe = self.health.probe_failed(slot.0, now, &self.pace, &mut self.rng);
            // The target was closed for another reason, and answers: it is open again.
            if probe && !self.letters.storm {
                self.health.succeeded();
            }
        }
        if self.is_replay(slot) {
            return self.replay_failed(slot, why, true, now);
        }
        if self.health.is_closed() {
            self.letters.appeal(self.keys.stored(slot).position.offset);
            self.keys.delay(slot, now);
        } else {
            self.condemn(slot, &why, now);
        }
        self.note(why);
    }

    /// The encoder refused: rejected without a word from the target. While that is closed, it proves nothing.
    pub(super) fn cannot_encode(&mut self, slot: SlotRef, why: Cause, now: Instant) {
        self.view.counters.attempts.rejected += 1;
        if self.is_replay(slot) {
            return self.replay_failed(slot, why, true, now);
        }
        if self.health.is_closed() {
            self.hold(slot, None, &why);
        } else {
            self.condemn(slot, &why, now);
        }
        self.note(why);
    }

    pub(super) fn hold(&mut self, slot: SlotRef, due: Option<Instant>, why: &Cause) {
        if self.keys.held() == 0 {
            let offset = self.keys.stored(slot).position.offset;
            let (target_name, class) = (self.shared.name(), why.class.label());
            tracing::warn!(target_name, offset, class, cause = %why.text, "not delivered: its key is held");
        }
        self.keys.hold(slot, due);
    }
}
