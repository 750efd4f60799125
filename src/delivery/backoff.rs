//! How long a failed attempt waits: exponential, with full jitter, between two bounds.
//!
//! Must never yield a delay below its minimum or above its maximum, whatever it was made from.

use std::time::Duration;

/// The shortest minimum: nothing can be retried in a hot loop.
const FLOOR: Duration = Duration::from_millis(1);

/// A pace for retries. It cannot be invalid: nonsense is mended when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    min: Duration,
    max: Duration,
}

impl Backoff {
    /// Delays between `min` and `max`. A `min` below one millisecond is raised to it, a `max` below `min` to
    /// `min`.
    pub fn new(min: Duration, max: Duration) -> Self {
        let min = min.max(FLOOR);
        Self { min, max: max.max(min) }
    }

    /// The delay after the `failures`th failure in a row (counted from 1): anything between the minimum and a
    /// ceiling that doubles with every failure, up to the maximum.
    pub fn delay(&self, failures: u32, rng: &mut fastrand::Rng) -> Duration {
        let doubled = 1u32.checked_shl(failures.clamp(1, 31)).unwrap_or(u32::MAX);
        let ceiling = self.min.saturating_mul(doubled).min(self.max);
        self.between(self.min, ceiling, rng)
    }

    /// A slow pace for what only a person can mend: between half the maximum and the maximum.
    pub fn slow(&self, rng: &mut fastrand::Rng) -> Duration {
        self.between((self.max / 2).max(self.min), self.max, rng)
    }

    fn between(&self, low: Duration, high: Duration, rng: &mut fastrand::Rng) -> Duration {
        let nanos = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(rng.u64(nanos(low)..=nanos(high.max(low)))).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_its_bounds_and_doubles() {
        let mut rng = fastrand::Rng::with_seed(7);
        let (min, max) = (Duration::from_secs(1), Duration::from_secs(300));
        let backoff = Backoff::new(min, max);
        for failures in 0..100 {
            let ceiling = min.saturating_mul(1 << failures.clamp(1, 20)).min(max);
            let mut longest = Duration::ZERO;
            for _ in 0..500 {
                let delay = backoff.delay(failures, &mut rng);
                assert!(delay >= min && delay <= ceiling, "{failures}: {delay:?}");
                longest = longest.max(delay);
                let slow = backoff.slow(&mut rng);
                assert!(slow >= max / 2 && slow <= max);
            }
            assert!(
                longest > min + (ceiling - min).mul_f64(0.9),
                "{failures}: jitter is not full: {longest:?}"
            );
        }
    }

    #[test]
    fn cannot_be_invalid() {
        let mut rng = fastrand::Rng::with_seed(7);
        let nonsense = Backoff::new(Duration::from_secs(9), Duration::ZERO);
        assert_eq!(nonsense.delay(3, &mut rng), Duration::from_secs(9));
        assert!(Backoff::new(Duration::ZERO, Duration::ZERO).delay(1, &mut rng) >= FLOOR);
        let endless = Backoff::new(Duration::MAX, Duration::MAX);
        assert!(endless.delay(u32::MAX, &mut rng) > Duration::from_secs(1));
    }
}
