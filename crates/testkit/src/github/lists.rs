//! Lists are behind: what they show of a thing is how it was a moment ago, while a look at the thing itself shows how it is.

use std::time::Duration;

use super::FakeGithub;
use super::state::State;

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
