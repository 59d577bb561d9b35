//! Deliveries that came before.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Forges let people send deliveries again, for days; this is for those that come twice by themselves, and for whoever
/// heard one and sends it on.
const AGE: Duration = Duration::from_secs(24 * 3600);
/// Most that are remembered; about 6 MB.
const COUNT: usize = 100_000;

/// Remembers deliveries by what tells them apart (`X-GitHub-Delivery`, `X-Gitea-Delivery`, the body), bounded in number and age.
pub struct Deliveries {
    age: Duration,
    count: usize,
    /// They come from the network: only this is kept of them.
    hasher: RandomState,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// When each came last.
    ids: HashMap<u64, Instant>,
    /// The oldest first.
    order: VecDeque<(Instant, u64)>,
}

impl Default for Deliveries {
    fn default() -> Self {
        Self::new(COUNT, AGE)
    }
}

impl std::fmt::Debug for Deliveries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deliveries")
            .field("age", &self.age)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl Deliveries {
    /// Remembers so many for so long.
    pub fn new(count: usize, age: Duration) -> Self {
        Self { age, count, hasher: RandomState::new(), seen: Mutex::default() }
    }

    /// Whether this id or body comes for the first time, as far as is remembered; remembers it.
    pub fn first(&self, mark: &[u8], now: Instant) -> bool {
        let id = self.hasher.hash_one(mark);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((came, oldest)) = seen.order.front().copied() {
            let old = now.saturating_duration_since(came) >= self.age;
            if !old && seen.order.len() < self.count.max(1) {
                break;
            }
            seen.order.pop_front();
            seen.ids.remove(&oldest);
        }
        if seen.ids.contains_key(&id) {
            return false;
        }
        seen.ids.insert(id, now);
        seen.order.push_back((now, id));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_taken_once_within_its_age() {
        let deliveries = Deliveries::default();
        let now = Instant::now();
        assert!(deliveries.first(b"a", now) && deliveries.first(b"b", now));
        assert!(!deliveries.first(b"a", now));
        assert!(!deliveries.first(b"a", now + Duration::from_secs(24 * 3600 - 1)));
        assert!(deliveries.first(b"a", now + AGE));
        // A clock that goes back is no matter.
        assert!(!deliveries.first(b"a", now));
    }

    #[test]
    fn memory_is_bounded() {
        let deliveries = Deliveries::new(3, AGE);
        let now = Instant::now();
        for id in [b"a", b"b", b"c", b"d"] {
            assert!(deliveries.first(id, now), "{id:?}");
        }
        let seen = deliveries.seen.lock().unwrap();
        assert_eq!((seen.ids.len(), seen.order.len()), (3, 3));
        drop(seen);
        assert!(deliveries.first(b"a", now), "the oldest is forgotten");
    }
}
