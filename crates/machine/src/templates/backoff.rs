//! Templates that failed, and when they are tried again.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use fireactions_model::{Digest, ExponentialBackoff};

const FIRST: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(3600);
/// Keys that are remembered; there are as many as pools and shapes that jobs ask for.
const REMEMBERED: usize = 256;

/// FailedTemplates by key.
#[derive(Debug, Default)]
pub(super) struct FailedTemplates(HashMap<Digest, Failed>);

#[derive(Debug, Clone, Copy)]
struct Failed {
    pauses: ExponentialBackoff,
    until: Instant,
}

impl FailedTemplates {
    /// The template may be tried.
    pub(super) fn over(&self, key: &Digest, now: Instant) -> bool {
        self.0.get(key).is_none_or(|failed| failed.until <= now)
    }

    /// Counts a failure; `random` is from 0 to 1. Many clones that fail at once count once. True for the first failure in a row.
    pub(super) fn add(&mut self, key: &Digest, now: Instant, random: f64) -> bool {
        if !self.over(key, now) {
            return false;
        }
        if self.0.len() >= REMEMBERED && !self.0.contains_key(key) {
            let oldest = self.0.iter().min_by_key(|(_, failed)| failed.until).map(|(key, _)| key.clone());
            oldest.map(|oldest| self.0.remove(&oldest));
        }
        let pauses = ExponentialBackoff::new(FIRST, LONGEST);
        let failed = self.0.entry(key.clone()).or_insert(Failed { pauses, until: now });
        failed.until = now + failed.pauses.failed(random);
        failed.pauses.failures() == 1
    }

    /// It works.
    pub(super) fn forget(&mut self, key: &Digest) {
        self.0.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u16) -> Digest {
        let mut hash = [0; 32];
        hash[..2].copy_from_slice(&n.to_le_bytes());
        Digest::from_sha256(hash)
    }

    #[test]
    fn each_failure_in_a_row_waits_longer_and_many_at_once_are_one() {
        let (mut failures, mut now) = (FailedTemplates::default(), Instant::now());
        assert!(failures.over(&key(1), now));
        assert!(failures.add(&key(1), now, 0.5));
        for _ in 0..10 {
            assert!(!failures.add(&key(1), now, 0.5), "clones of the same bad template");
        }
        assert!(!failures.over(&key(1), now + FIRST / 4) && failures.over(&key(1), now + FIRST * 2));
        assert!(failures.over(&key(2), now));
        for _ in 0..40 {
            now += LONGEST * 2;
            assert!(failures.over(&key(1), now), "never for ever");
            assert!(!failures.add(&key(1), now, 0.0), "not the first in a row");
        }
        assert!(!failures.over(&key(1), now + LONGEST / 3));
        failures.forget(&key(1));
        assert!(failures.over(&key(1), now) && failures.add(&key(1), now, 0.0));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut failures, now) = (FailedTemplates::default(), Instant::now());
        for n in 0..2000 {
            failures.add(&key(n), now + Duration::from_millis(n.into()), 0.5);
        }
        assert_eq!(failures.0.len(), REMEMBERED);
        assert!(!failures.over(&key(1999), now + FIRST / 2) && failures.over(&key(0), now));
    }
}
