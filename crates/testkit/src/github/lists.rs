//! Lists are behind: what they show of a thing is how it was a moment ago, while a look at the thing itself shows how it is.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::FakeGithub;
use super::state::State;

/// How far they are behind.
#[derive(Debug)]
pub(super) struct Lists {
    behind: Duration,
}

impl Default for Lists {
    fn default() -> Self {
        Self { behind: Duration::from_millis(500) }
    }
}

/// How a thing was, as long as lists may still show it.
#[derive(Debug)]
pub(super) struct Past<T>(VecDeque<(Instant, T)>);

impl<T> Default for Past<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Past<T> {
    /// The thing is like this now, which `is` says of the last that is known.
    pub(super) fn note(&mut self, behind: Duration, is: impl Fn(&T) -> bool, now: impl FnOnce() -> T) {
        if !self.0.back().is_some_and(|(_, last)| is(last)) {
            self.0.push_back((Instant::now(), now()));
        }
        while self.0.get(1).is_some_and(|(since, _)| since.elapsed() >= behind) {
            self.0.pop_front();
        }
    }

    /// How lists show it; nothing of a thing that is too new.
    pub(super) fn shown(&self, behind: Duration) -> Option<&T> {
        let old = self.0.iter().rev().find(|(since, _)| since.elapsed() >= behind);
        old.map(|(_, thing)| thing)
    }
}

impl State {
    /// How far lists are behind.
    pub(super) fn behind(&self) -> Duration {
        self.lists.behind
    }

    /// Remembers how things are, for the lists of the next moment.
    pub(super) fn remember(&mut self) {
        let behind = self.lists.behind;
        for entry in self.runners.entries.values_mut() {
            let runner = &entry.public;
            entry.past.note(behind, |last| last == runner, || runner.clone());
        }
        for entry in self.jobs.entries.values_mut() {
            let shown = entry.public.shown();
            entry.past.note(behind, |last| *last == shown, || shown.clone());
        }
    }
}

impl FakeGithub {
    /// Lists of runners, runs and jobs are so far behind; half a second unless set.
    pub fn set_lists_behind(&self, behind: Duration) {
        self.shared.with(|state| state.lists.behind = behind);
    }
}
