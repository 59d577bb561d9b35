//! Counts and quantiles.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::guest::BootResult;

pub(crate) struct Tally {
    wanted: u32,
    began: Instant,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    ready: Vec<Duration>,
    hung: u32,
    failed: u32,
}

impl Tally {
    pub(crate) fn new(wanted: u32) -> Self {
        Self { wanted, began: Instant::now(), seen: Mutex::default() }
    }

    pub(crate) fn add(&self, outcome: &BootResult) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            BootResult::Ready(took) => seen.ready.push(*took),
            BootResult::Hung { .. } => seen.hung += 1,
            BootResult::Failed(_) => seen.failed += 1,
        }
    }

    /// How it stands.
    pub(crate) fn line(&self) -> String {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Seen { ready, hung, failed } = &*seen;
        let done = ready.len() + *hung as usize + *failed as usize;
        format!(
            "{done} of {}: {} ready, {hung} hung, {failed} failed; {:.0} s",
            self.wanted,
            ready.len(),
            self.began.elapsed().as_secs_f64()
        )
    }

    /// The end of it.
    pub(crate) fn summary(&self) -> String {
        let mut text = self.line();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.ready.sort_unstable();
        text.push_str("\nseconds until ready:");
        for (name, per_mille) in [("min", 0), ("50%", 500), ("90%", 900), ("99%", 990), ("max", 1000)] {
            if let Some(took) = quantile(&seen.ready, per_mille) {
                let _ = write!(text, "  {name} {:.2}", took.as_secs_f64());
            }
        }
        text
    }

    pub(crate) fn is_clean(&self) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.hung == 0 && seen.failed == 0
    }
}

/// The smallest value that so many per mille do not exceed, of sorted ones.
fn quantile(sorted: &[Duration], per_mille: usize) -> Option<Duration> {
    let rank = (sorted.len() * per_mille).div_ceil(1000).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let sorted: Vec<Duration> = (1..=100).map(Duration::from_secs).collect();
        let seconds = |per_mille| quantile(&sorted, per_mille).map(|took| took.as_secs());
        assert_eq!([0, 500, 990, 1000].map(seconds), [Some(1), Some(50), Some(99), Some(100)]);
        assert_eq!(quantile(&[], 500), None);
        assert_eq!(quantile(&sorted[..1], 990), Some(Duration::from_secs(1)));
    }

    #[test]
    fn one_that_hung_is_a_failure() {
        let tally = Tally::new(2);
        tally.add(&BootResult::Ready(Duration::from_millis(1500)));
        assert!(tally.is_clean());
        tally.add(&BootResult::Hung { waiting_for: "hello", kept: "k".into(), late: None });
        assert!(!tally.is_clean());
        assert!(tally.summary().starts_with("2 of 2: 1 ready, 1 hung, 0 failed"), "{}", tally.summary());
        assert!(tally.summary().contains("50% 1.50"), "{}", tally.summary());
    }
}
