//! A clock for ages: the wall clock without the jumps that were seen in this life of the process.
//!
//! Somebody sets the clock forward, and everything would look older by that. Must never make anything older
//! than it is; what began before this life is as old as the clock said when it began.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Clocks differ by less than this between two looks unless somebody set one, in microseconds.
const TOLERATED_US: i64 = 10_000_000;

/// Both clocks at the last look.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastLook {
    /// The wall clock, in microseconds since the Unix epoch.
    pub(super) wall_us: i64,
    at: Instant,
}

impl LastLook {
    pub(super) fn new(wall_us: i64, at: Instant) -> Self {
        Self { wall_us, at }
    }

    /// Looks again: how far somebody set the wall clock since the last look, in microseconds. None: it only
    /// went on.
    pub(super) fn jump(&mut self, wall_us: i64, at: Instant) -> Option<i64> {
        let passed = i64::try_from(at.duration_since(self.at).as_micros()).unwrap_or(i64::MAX);
        let jump = wall_us.saturating_sub(self.wall_us).saturating_sub(passed);
        *self = Self::new(wall_us, at);
        (jump.saturating_abs() > TOLERATED_US).then_some(jump)
    }
}

/// The clock, as it was at the last look, and the jumps that still count.
pub(super) struct Steady {
    /// Nothing that is measured lives longer: a jump before it began does not matter.
    longest: Duration,
    last: LastLook,
    /// When each was seen, and how far it went, in microseconds. One a look at most, and none older than
    /// `longest`.
    jumps: VecDeque<(Instant, i64)>,
}

impl Steady {
    /// Begins with what the wall clock says now, in microseconds since the Unix epoch.
    pub(super) fn new(longest: Duration, wall_us: i64, at: Instant) -> Self {
        Self { longest, last: LastLook::new(wall_us, at), jumps: VecDeque::new() }
    }

    /// The time by which nothing is older than it is: `wall_us` less the most that any run of jumps up to
    /// now added to the age of what began before them.
    pub(super) fn now_us(&mut self, wall_us: i64, at: Instant) -> i64 {
        if let Some(jump) = self.last.jump(wall_us, at) {
            tracing::warn!(seconds = jump / 1_000_000, "the clock was set: no upload ends early by it");
            self.jumps.push_back((at, jump));
        }
        while self.jumps.front().is_some_and(|(then, _)| at.duration_since(*then) > self.longest) {
            self.jumps.pop_front();
        }
        let (mut added, mut most) = (0_i64, 0);
        for (_, jump) in self.jumps.iter().rev() {
            added = added.saturating_add(*jump);
            most = added.max(most);
        }
        wall_us.saturating_sub(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;
    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// A wall clock that can be set, and a look every hour.
    struct Clock {
        steady: Steady,
        begun: Instant,
        hours: i64,
        set: i64,
    }

    impl Clock {
        fn new() -> Self {
            let begun = Instant::now();
            Self { steady: Steady::new(DAY, 0, begun), begun, hours: 0, set: 0 }
        }

        fn wall(&self) -> i64 {
            self.hours * HOUR + self.set
        }

        /// The age, in hours, of what began when the wall clock said `began`, after so many hours.
        fn age(&mut self, hours: i64, began: i64) -> i64 {
            let mut now = 0;
            for _ in 0..hours {
                self.hours += 1;
                // As clocks do, it drifts a little.
                let drift = self.hours * 1_000_000;
                let at = self.begun + Duration::from_micros((self.hours * HOUR).unsigned_abs());
                now = self.steady.now_us(self.wall() + drift, at);
            }
            (now - began) / HOUR
        }
    }

    #[test]
    fn without_a_jump_it_is_the_wall_clock() {
        let mut clock = Clock::new();
        assert_eq!(clock.age(5, 0), 5);
        assert_eq!(clock.age(100, 0), 105);
    }

    #[test]
    fn a_clock_set_forward_makes_nothing_older() {
        let mut clock = Clock::new();
        clock.age(2, 0);
        let before = clock.wall();
        clock.set = 1_000 * HOUR;
        assert_eq!(clock.age(3, before), 3);
        let after = clock.wall();
        assert!(clock.age(4, after) <= 4);
        // Once nobody is left who began before it, it counts no more.
        let later = clock.wall();
        assert_eq!(clock.age(25, later), 25);
    }

    #[test]
    fn a_clock_set_back_and_put_right_makes_nothing_older() {
        let mut clock = Clock::new();
        clock.age(1, 0);
        let first = clock.wall();
        clock.set = -1_000 * HOUR;
        clock.age(2, 0);
        let second = clock.wall();
        clock.set = 0;
        assert!(clock.age(3, first) <= 5);
        assert_eq!(clock.age(1, second), 4, "what began while it was wrong");
        // There and back: what began before it is as old as it is, not younger.
        let mut clock = Clock::new();
        clock.age(1, 0);
        clock.set = 1_000 * HOUR;
        clock.age(1, 0);
        clock.set = 0;
        assert_eq!(clock.age(2, 0), 4);
    }
}
