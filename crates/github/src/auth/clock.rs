//! GitHub's clock, as far as ours is off.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

/// A difference up to this many seconds is the network's.
const TOLERATED: i64 = 15;

/// What to add to our clock, in seconds. App tokens are dated, and refused when the date is wrong by more than a minute.
#[derive(Default)]
pub(super) struct Clock(AtomicI64);

impl Clock {
    /// The time by GitHub's clock, as far as it is known.
    pub(super) fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        now.checked_add(SignedDuration::from_secs(self.0.load(Ordering::Relaxed))).unwrap_or(now)
    }

    /// Compares with the date of an answer that refused a token. Returns whether the clock was corrected.
    pub(super) fn correct(&self, date: Option<Timestamp>) -> bool {
        let Some(date) = date else { return false };
        if (date.as_second() - self.now().as_second()).abs() <= TOLERATED {
            return false;
        }
        let offset = date.as_second() - Timestamp::now().as_second();
        let offset = if offset.abs() <= TOLERATED { 0 } else { offset };
        self.0.store(offset, Ordering::Relaxed);
        if offset == 0 {
            tracing::info!("this host's clock agrees with GitHub's again");
        } else {
            let (seconds, direction) = (offset.abs(), if offset > 0 { "behind" } else { "ahead of" });
            tracing::warn!(
                "this host's clock is {seconds} s {direction} GitHub's; App tokens use GitHub's time, but correct the clock (timedatectl): certificates and logs depend on it"
            );
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_corrected_and_corrected_back() {
        let clock = Clock::default();
        let shifted = |seconds| Some(Timestamp::now() + SignedDuration::from_secs(seconds));
        assert!(!clock.correct(None) && !clock.correct(shifted(5)) && !clock.correct(shifted(-5)));
        for off in [300, -300] {
            assert!(clock.correct(shifted(off)));
            let now = (clock.now().as_second() - Timestamp::now().as_second() - off).abs();
            assert!(now <= 1, "{now}");
            assert!(!clock.correct(shifted(off)), "it is right now");
        }
        assert!(clock.correct(shifted(1)));
        assert_eq!(clock.0.load(Ordering::Relaxed), 0);
        assert!(clock.correct(Some(Timestamp::MAX)));
        let _ = clock.now();
    }
}
