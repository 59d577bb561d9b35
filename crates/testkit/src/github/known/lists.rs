//! How things were a moment ago.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How far lists are behind.
#[derive(Debug)]
pub(in super::super) struct Lists {
    pub(in super::super) behind: Duration,
}

impl Default for Lists {
    fn default() -> Self {
        Self { behind: Duration::from_millis(500) }
    }
}

/// How a thing was, as long as lists may still show it.
#[derive(Debug)]
pub(in super::super) struct Past<T>(VecDeque<(Instant, T)>);

impl<T> Default for Past<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Past<T> {
    /// The thing is like this now, which `is` says of the last that is known.
    pub(in super::super) fn note(
        &mut self,
        behind: Duration,
        is: impl Fn(&T) -> bool,
        now: impl FnOnce() -> T,
    ) {
        if !self.0.back().is_some_and(|(_, last)| is(last)) {
            self.0.push_back((Instant::now(), now()));
        }
        while self.0.get(1).is_some_and(|(since, _)| since.elapsed() >= behind) {
            self.0.pop_front();
        }
    }

    /// How lists show it; nothing of a thing that is too new.
    pub(in super::super) fn shown(&self, behind: Duration) -> Option<&T> {
        let old = self.0.iter().rev().find(|(since, _)| since.elapsed() >= behind);
        old.map(|(_, thing)| thing)
    }
}
