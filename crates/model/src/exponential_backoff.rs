//! The waits between tries of what failed: the one rule for all of them. Pure, so that it is tested without waiting.

use std::time::Duration;

/// Waits that double from one failure to the next, up to a longest, each spread over half of itself, so that those who
/// failed together do not come back together. Randomness is the caller's: `rand::random()`, from 0 to 1.
///
/// ```
/// use std::time::Duration;
/// use fireactions_model::ExponentialBackoff;
///
/// let mut backoff = ExponentialBackoff::new(Duration::from_millis(200), Duration::from_secs(10));
/// assert_eq!(backoff.failed(1.0), Duration::from_millis(200));
/// assert_eq!(backoff.failed(0.0), Duration::from_millis(200), "half of 400 ms");
/// backoff.succeeded();
/// assert_eq!(backoff.failed(1.0), Duration::from_millis(200));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExponentialBackoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl ExponentialBackoff {
    /// Nothing has failed yet.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// As after so many failures, for those who keep the number elsewhere.
    #[must_use]
    pub const fn after(self, failures: u32) -> Self {
        Self { failures, ..self }
    }

    /// Counts a failure. Returns the wait before the next try.
    pub fn failed(&mut self, random: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        Self::jitter(self.delay(), random)
    }

    /// It works again: the next wait is the first.
    pub const fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row so far.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// The wait that the failures so far ask for, before it is spread.
    pub fn delay(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.longest)
    }

    /// Between half of a wait and all of it.
    pub fn jitter(delay: Duration, random: f64) -> Duration {
        let half = delay / 2;
        half + half.mul_f64(random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(300);

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew() {
        let mut backoff = ExponentialBackoff::new(FIRST, LONGEST);
        let waits: Vec<u64> = (0..12).map(|_| backoff.failed(1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(backoff.failures(), 12);
        backoff.succeeded();
        assert_eq!((backoff.failures(), backoff.failed(1.0)), (0, FIRST));
        assert_eq!(backoff.after(u32::MAX).failed(1.0), LONGEST);
        assert_eq!(ExponentialBackoff::new(Duration::MAX, Duration::MAX).after(40).delay(), Duration::MAX);
        assert_eq!(ExponentialBackoff::new(LONGEST, FIRST).failed(1.0), FIRST, "the longest is a bound");
    }

    #[test]
    fn jitter_spreads_over_half_of_the_wait_and_never_beyond_it() {
        for random in [-1.0, 0.0, 0.3, 1.0, 7.0] {
            let wait = ExponentialBackoff::jitter(LONGEST, random);
            assert!((LONGEST / 2..=LONGEST).contains(&wait), "{wait:?}");
        }
    }
}
