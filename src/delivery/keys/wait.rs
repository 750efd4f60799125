//! Keys that wait for a moment, or for somebody to release them.
//!
//! Must never make a key ready whose entry is out.

use std::cmp::Reverse;

use tokio::time::Instant;

use super::{Keys, Phase, Timer};

impl Keys {
    /// Keys whose moment has come are ready again.
    pub(in crate::delivery) fn wake_due(&mut self, now: Instant) {
        while self.next_due().is_some_and(|due| due <= now) {
            let Some(Reverse(timer)) = self.timers.pop() else { break };
            self.make_ready(timer.key);
        }
    }

    /// A held key without a timer, whose entry was rejected fewer than `limit` times, is delayed until `due`
    /// instead.
    pub(in crate::delivery) fn reprieve(&mut self, hash: u64, limit: u32, due: Instant) {
        let Some(&key) = self.by_hash.get(&hash) else { return };
        let at = &self.keys[key as usize];
        if at.phase == Phase::Held && (1..limit).contains(&at.rejections) {
            self.set_phase(key, Phase::Delayed);
            self.set_timer(key, due);
        }
    }

    /// Everything that waits or is held may be tried at once.
    pub(in crate::delivery) fn release_all(&mut self) {
        self.timers.clear();
        for key in 0..self.keys.len() as u32 {
            let at = &mut self.keys[key as usize];
            if at.entries > 0 && matches!(at.phase, Phase::Delayed | Phase::Held) {
                let at = &mut self.keys[key as usize];
                (at.failures, at.rejections) = (0, 0);
                self.make_ready(key);
            }
        }
    }

    /// The earliest moment at which a key wants to be tried again.
    pub(in crate::delivery) fn next_due(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse(t)| t.due)
    }

    pub(super) fn set_timer(&mut self, key: u32, due: Instant) {
        self.timers.push(Reverse(Timer { due, key }));
    }
}
