//! Waiting after failed machines: longer each time, never for ever, and never all pools at the same moment.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use fireactions_model::{Backoff, ExponentialBackoff, FailureKind, MachineId, MachineState, MachineView};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::Pace;

/// Wait after the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// Longest wait.
const LONGEST: Duration = Duration::from_secs(300);
/// A machine that has been up for this long is no failure that is only late.
const SETTLED: Duration = Duration::from_secs(5);

/// A pool's memory of its failures. It counts by a clock that nobody sets, and tells what was begun later than a failure by
/// what was there then.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    state: Option<State>,
    /// Failed machines that were counted and still have a row.
    counted: HashSet<MachineId>,
    /// Since when machines are up, as far as that is asked: while there is a failure that one of them may end.
    up: HashMap<MachineId, Instant>,
}

#[derive(Debug)]
struct State {
    failures: u32,
    until: Instant,
    reason: String,
    /// When the last counted failure was seen.
    last: Instant,
    /// The machines that were there then. They share its fate, and show nothing of what is better since.
    there: HashSet<MachineId>,
    /// A runner ended before a job came: only one that had its job shows that this is over.
    runner: bool,
}

impl State {
    /// Whether a machine shows that things are well again: it had its job and goes as it should, or it has been up for a
    /// while. One that has just become ready shows nothing: there are guests that come up only to reboot.
    fn ended_by(&self, machine: &MachineView, up: Option<Duration>) -> bool {
        machine.failure.is_none()
            && !self.there.contains(&machine.id)
            && match machine.state {
                MachineState::Stopping => machine.job.is_some(),
                _ => !self.runner && up.is_some_and(|up| up >= SETTLED),
            }
    }
}

impl Failures {
    /// Takes in the pool's machines as they are now.
    pub(crate) fn observe<'a>(
        &mut self,
        machines: impl Iterator<Item = &'a MachineView>,
        now: Instant,
        random: f64,
    ) {
        let machines: Vec<&MachineView> = machines.collect();
        let is_up = |machine: &&&MachineView| {
            matches!(machine.state, MachineState::Ready | MachineState::Starting | MachineState::Busy)
        };
        let before = std::mem::take(&mut self.up);
        if self.state.is_some() {
            self.up = (machines.iter().filter(is_up))
                .map(|machine| (machine.id.clone(), before.get(&machine.id).copied().unwrap_or(now)))
                .collect();
        }
        let up = |machine: &MachineView| self.up.get(&machine.id).map(|since| now - *since);
        if let Some(state) = &self.state
            && machines.iter().any(|machine| state.ended_by(machine, up(machine)))
        {
            self.state = None;
        }
        let mut present = HashSet::new();
        for machine in &machines {
            let Some(failure) = &machine.failure else { continue };
            // A machine whose job failed did what it should.
            if failure.kind == FailureKind::Job {
                continue;
            }
            present.insert(machine.id.clone());
            let shared = self.state.as_ref().is_some_and(|state| state.there.contains(&machine.id));
            if !shared && !self.counted.contains(&machine.id) {
                let runner = failure.kind == FailureKind::Runner;
                self.count(&failure.message, runner, machines.iter().copied(), now, random);
            }
        }
        self.counted = present;
    }

    /// Counts a machine that could not be begun, `begun` being when that was tried.
    pub(crate) fn refused<'a>(
        &mut self,
        begun: Instant,
        reason: &str,
        there: impl Iterator<Item = &'a MachineView>,
        random: f64,
    ) {
        if self.state.as_ref().is_none_or(|state| begun > state.last) {
            self.count(reason, false, there, Instant::now(), random);
        }
    }

    /// Counts a failure. Machines that were begun before the last counted one failed share its fate: ten
    /// machines that miss the same image are one failure.
    fn count<'a>(
        &mut self,
        reason: &str,
        runner: bool,
        there: impl Iterator<Item = &'a MachineView>,
        now: Instant,
        random: f64,
    ) {
        let failures = self.state.as_ref().map_or(1, |state| state.failures.saturating_add(1));
        self.state = Some(State {
            failures,
            until: now + ExponentialBackoff::new(FIRST, LONGEST).after(failures - 1).failed(random),
            reason: reason.to_owned(),
            last: now,
            there: there.map(|machine| machine.id.clone()).collect(),
            runner,
        });
    }

    /// How fast the pool may go on.
    pub(crate) fn pace(&self, now: Instant) -> Pace {
        match &self.state {
            None => Pace::Free,
            Some(state) if now < state.until => Pace::Hold,
            Some(_) => Pace::One,
        }
    }

    /// Forgets everything: an operator did something about it.
    pub(crate) fn reset(&mut self) {
        self.state = None;
    }

    /// When the wait is over, for the timer.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.state.as_ref().map(|state| state.until)
    }

    /// For people.
    pub(crate) fn backoff(&self) -> Option<Backoff> {
        let state = self.state.as_ref()?;
        let (now, wall) = (Instant::now(), Timestamp::now());
        let until = match state.until.checked_duration_since(now) {
            Some(left) => wall.checked_add(left),
            None => wall.checked_sub(now - state.until),
        };
        Some(Backoff { failures: state.failures, until: until.unwrap_or(wall), reason: state.reason.clone() })
    }
}

#[cfg(test)]
mod tests;
