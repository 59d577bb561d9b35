//! Wrong logins, by the address that they come from.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Addresses that are remembered. Whoever has more guesses no token of 16 characters either.
const ADDRESSES: usize = 1024;
/// Wrong ones in a row that cost nothing: people mistype.
const FREE: u32 = 3;
const LONGEST: Duration = Duration::from_secs(300);
/// An address that has not failed for so long after its wait is forgotten.
const FORGET: Duration = Duration::from_secs(900);

#[derive(Clone, Copy)]
struct Failures {
    number: u32,
    /// No login is looked at before.
    until: Instant,
}

/// How often logins have failed lately.
#[derive(Default)]
pub(super) struct Attempts {
    /// `None`: local programs that do not say whom they speak for.
    by_address: Mutex<HashMap<Option<IpAddr>, Failures>>,
}

impl Attempts {
    /// How much longer this address has to wait, if it has to.
    pub(super) fn wait(&self, address: Option<IpAddr>) -> Option<Duration> {
        let all = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let left = all.get(&address)?.until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    pub(super) fn failed(&self, address: Option<IpAddr>) {
        let now = Instant::now();
        let mut all = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, failures| failures.until + FORGET > now);
        if all.len() >= ADDRESSES && !all.contains_key(&address) {
            // The one that has waited most of its time.
            let oldest = all.iter().min_by_key(|(_, failures)| failures.until).map(|(address, _)| *address);
            oldest.map(|oldest| all.remove(&oldest));
        }
        let failures = all.entry(address).or_insert(Failures { number: 0, until: now });
        failures.number = failures.number.saturating_add(1);
        let wait = match failures.number.checked_sub(FREE) {
            None | Some(0) => Duration::ZERO,
            Some(more) => Duration::from_secs(1 << (more - 1).min(16)).min(LONGEST),
        };
        failures.until = now + wait;
    }

    pub(super) fn succeeded(&self, address: Option<IpAddr>) {
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner).remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_wrong_one_waits_longer_than_the_last() {
        let attempts = Attempts::default();
        let address = Some(IpAddr::from([203, 0, 113, 9]));
        let mut waits = Vec::new();
        for _ in 0..14 {
            attempts.failed(address);
            let wait = attempts.wait(address);
            waits.push(wait.map_or(0, |wait| wait.as_secs()));
            tokio::time::advance(wait.unwrap_or_default()).await;
            assert_eq!(attempts.wait(address), None);
        }
        assert_eq!(waits, [0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(attempts.wait(None), None, "others do not wait");
        tokio::time::advance(FORGET).await;
        attempts.failed(address);
        assert_eq!(attempts.wait(address), None, "it was forgotten");
        for _ in 0..9 {
            attempts.failed(address);
        }
        attempts.succeeded(address);
        assert_eq!(attempts.wait(address), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded_and_keeps_those_who_wait_longest() {
        let attempts = Attempts::default();
        let stubborn = Some(IpAddr::from([203, 0, 113, 9]));
        for _ in 0..20 {
            attempts.failed(stubborn);
        }
        for n in 0..3 * u32::try_from(ADDRESSES).unwrap() {
            attempts.failed(Some(IpAddr::V4(n.into())));
        }
        assert!(attempts.by_address.lock().unwrap().len() <= ADDRESSES);
        assert!(attempts.wait(stubborn).is_some());
    }
}
