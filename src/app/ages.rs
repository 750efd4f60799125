//! How old the oldest event is that a target lacks, whatever somebody does to the wall clock meanwhile.
//!
//! Events carry the wall clock's time and stand in the log in the order in which they were made, so that a
//! jump that is noticed separates those before it from those behind it. Must never show an age below zero,
//! nor let a clock that was set, back or forth, look like a target that falls behind; what was made in an
//! earlier life of the process is as old as the clock said when this one began.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::Parts;
use super::steady::LastLook;
use crate::queue::{OldestEvent, TargetNo};

/// Jumps that are remembered one by one; beyond it the two oldest count as one.
const JUMPS: usize = 64;

/// The jumps that were seen in this life.
pub(super) struct Ages {
    clock: fn() -> i64,
    seen: Mutex<Seen>,
}

/// See [`Ages`].
struct Seen {
    last: LastLook,
    /// Where the log ended then.
    end: u64,
    jumps: VecDeque<Jump>,
}

/// Somebody set the clock between two looks.
struct Jump {
    /// What stands below is from before it …
    before: u64,
    /// … and what stands here or above from after it.
    after: u64,
    by_us: i64,
}

impl Ages {
    /// Begins with what `clock` says now, in microseconds since the Unix epoch, and where the log ends.
    pub(super) fn new(clock: fn() -> i64, end: u64) -> Self {
        let last = LastLook::new(clock(), Instant::now());
        Self { clock, seen: Mutex::new(Seen { last, end, jumps: VecDeque::new() }) }
    }

    /// Looks whether somebody set the clock. `end`: where the log ends, read before.
    pub(super) fn look(&self, end: u64) {
        self.seen().look(end, (self.clock)(), Instant::now());
    }

    /// When an event was made, by the clock as it was set at the last look; never later than that.
    fn made_us(&self, event: OldestEvent) -> i64 {
        let seen = self.seen();
        seen.last.wall_us - seen.age_us(event)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn look(&mut self, end: u64, wall_us: i64, at: Instant) {
        if let Some(by_us) = self.last.jump(wall_us, at) {
            tracing::warn!(seconds = by_us / 1_000_000, "the clock was set: no event is older by it");
            self.jumps.push_back(Jump { before: self.end, after: end, by_us });
            if self.jumps.len() > JUMPS
                && let (Some(oldest), Some(next)) = (self.jumps.pop_front(), self.jumps.front_mut())
            {
                next.by_us = next.by_us.saturating_add(oldest.by_us);
            }
        }
        self.end = self.end.max(end);
    }

    /// The age of an event at the last look, in microseconds.
    fn age_us(&self, event: OldestEvent) -> i64 {
        let mut age = self.last.wall_us.saturating_sub(event.time_us);
        for jump in self.jumps.iter().rev() {
            let earlier = age.saturating_sub(jump.by_us);
            // Made between two looks, before or after the jump: whichever is younger, and not yet to come.
            let later = age >= 0 && (earlier < 0 || age < earlier);
            if event.offset >= jump.after || (event.offset >= jump.before && later) {
                break;
            }
            age = earlier;
        }
        age.max(0)
    }
}

impl Parts {
    /// When the oldest event was made that a target lacks, in microseconds since the Unix epoch by the clock
    /// as it is set now. `taken`: as its lane knows it; where no lane has taken it, the log does.
    pub(super) async fn oldest_us(&self, target: TargetNo, taken: Option<OldestEvent>) -> Option<i64> {
        self.ages.look(self.queue.durable_end());
        let oldest = match taken {
            Some(oldest) => Some(oldest),
            None => {
                let queue = Arc::clone(&self.queue);
                let looked_up = tokio::task::spawn_blocking(move || queue.oldest_unsettled(target)).await;
                looked_up.ok().flatten()
            }
        };
        oldest.map(|oldest| self.ages.made_us(oldest))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: i64 = 1_000_000;
    const HOUR: i64 = 3_600 * SECOND;

    /// A log that gets an event a second, a wall clock that can be set, and a look every ten seconds.
    struct Scene {
        seen: Seen,
        begun: Instant,
        now: i64,
        set_us: i64,
        events: Vec<OldestEvent>,
    }

    impl Scene {
        fn new() -> Self {
            let begun = Instant::now();
            let seen = Seen { last: LastLook::new(HOUR, begun), end: 1, jumps: VecDeque::new() };
            Self { seen, begun, now: 0, set_us: HOUR, events: Vec::new() }
        }

        fn wall(&self) -> i64 {
            self.now * SECOND + self.set_us
        }

        fn pass(&mut self, seconds: i64) {
            for _ in 0..seconds {
                self.now += 1;
                self.events.push(OldestEvent { offset: self.events.len() as u64 + 1, time_us: self.wall() });
                if self.now % 10 == 0 {
                    let at = self.begun + Duration::from_secs(self.now.unsigned_abs());
                    self.seen.look(self.events.len() as u64 + 1, self.wall(), at);
                }
            }
        }

        /// How much older than it is the event of this second is shown, in seconds.
        fn wrong_by(&self, second: i64) -> i64 {
            let event = self.events[second as usize - 1];
            assert_eq!(self.now % 10, 0, "at a look");
            self.seen.age_us(event) / SECOND - (self.now - second)
        }
    }

    #[test]
    fn without_a_jump_ages_are_what_they_are() {
        let mut scene = Scene::new();
        scene.pass(100);
        assert_eq!([1, 50, 100].map(|second| scene.wrong_by(second)), [0; 3]);
        // Of an earlier life, and by a clock that was wrong then: nothing is older than the beginning.
        assert_eq!(scene.seen.age_us(OldestEvent { offset: 0, time_us: 5 * HOUR }), 0);
    }

    #[test]
    fn a_clock_that_is_set_makes_no_event_older_or_younger() {
        for by_us in [HOUR, -HOUR, 400 * 24 * HOUR, -40 * SECOND, 40 * SECOND] {
            let mut scene = Scene::new();
            scene.pass(103);
            scene.set_us += by_us;
            scene.pass(97);
            let made = [1, 60, 100, 111, 150, 200].map(|second| scene.wrong_by(second));
            assert_eq!(made, [0; 6], "{by_us}");
            // Between the two looks nobody knows: they may be younger than they are, never older.
            assert!((101..=110).all(|second| scene.wrong_by(second) <= 0), "{by_us}");
            // What is younger than the jump is far can only be from one side of it.
            assert!(by_us == 40 * SECOND || scene.wrong_by(105) == 0, "{by_us}");
            // There and back.
            scene.set_us -= by_us;
            scene.pass(100);
            let made = [1, 60, 100, 150, 200, 250].map(|second| scene.wrong_by(second));
            assert_eq!(made, [0; 6], "{by_us} and back");
        }
    }

    #[test]
    fn many_jumps_are_remembered_in_bounded_memory() {
        let mut scene = Scene::new();
        scene.pass(10);
        for _ in 0..3 * JUMPS {
            scene.set_us += HOUR;
            scene.pass(10);
        }
        assert_eq!(scene.seen.jumps.len(), JUMPS);
        let last = scene.now;
        assert_eq!([1, 5, last - 100, last].map(|second| scene.wrong_by(second)), [0; 4]);
    }
}
