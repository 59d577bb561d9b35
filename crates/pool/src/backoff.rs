//! Waiting after failed machines: longer each time, never for ever, and never all pools at the same moment.

use std::collections::HashSet;
use std::time::Duration;

use fireactions_model::{Backoff, FailureKind, MachineId, MachineState, MachineView};
use jiff::Timestamp;

use crate::Pace;

/// Wait after the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// Longest wait.
const LONGEST: Duration = Duration::from_secs(300);
/// A machine that has been up for this long is no failure that is only late.
const SETTLED: Duration = Duration::from_secs(5);

/// The exponential delay before try `failures + 1`, without jitter.
pub(crate) fn delay(first: Duration, longest: Duration, failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    first.saturating_mul(1 << doublings).min(longest)
}

/// Between half of a delay and all of it. `random` is from 0 to 1.
pub(crate) fn jitter(delay: Duration, random: f64) -> Duration {
    delay.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
}

/// Whether a machine shows that things are well again: it had its job and goes as it should, or it has been up for a
/// while. One that has just become ready shows nothing: there are guests that come up only to reboot.
fn shows_well(machine: &MachineView, now: Timestamp) -> bool {
    let settled = || {
        let up = Duration::try_from(now.duration_since(machine.state_since)).unwrap_or_default();
        up >= SETTLED
    };
    machine.failure.is_none()
        && match machine.state {
            MachineState::Ready | MachineState::Starting | MachineState::Busy => settled(),
            MachineState::Stopping => machine.job.is_some(),
            MachineState::Creating | MachineState::Booting | MachineState::Held => false,
        }
}

/// A pool's memory of its failures.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    /// What failed before this does not count: a machine that an earlier server left held has cost its wait.
    since: Timestamp,
    state: Option<State>,
    /// Failed machines that were counted and still have a row.
    counted: HashSet<MachineId>,
}

#[derive(Debug)]
struct State {
    backoff: Backoff,
    /// When the last counted failure was seen. Only a machine begun after it shows that things are well again.
    last: Timestamp,
}

impl Failures {
    /// Counts what fails from now on.
    pub(crate) fn since(since: Timestamp) -> Self {
        Self { since, ..Self::default() }
    }

    /// From when on it counts.
    pub(crate) const fn began(&self) -> Timestamp {
        self.since
    }

    /// Takes in the pool's machines as they are now.
    pub(crate) fn observe<'a>(
        &mut self,
        machines: impl Iterator<Item = &'a MachineView> + Clone,
        now: Timestamp,
        random: f64,
    ) {
        let well = machines.clone().any(|machine| {
            let since = self.state.as_ref().is_some_and(|state| machine.created_at > state.last);
            since && shows_well(machine, now)
        });
        if well {
            self.state = None;
        }
        let mut present = HashSet::new();
        for machine in machines {
            let Some(failure) = &machine.failure else { continue };
            // A machine whose job failed did what it should.
            if failure.kind == FailureKind::Job || machine.state_since < self.since {
                continue;
            }
            present.insert(machine.id.clone());
            if !self.counted.contains(&machine.id) {
                self.failed(machine.created_at, &failure.message, now, random);
            }
        }
        self.counted = present;
    }

    /// Counts a failure. Machines that were begun before the last counted one failed share its fate: ten
    /// machines that miss the same image are one failure.
    pub(crate) fn failed(&mut self, begun: Timestamp, reason: &str, now: Timestamp, random: f64) {
        let failures = match &self.state {
            Some(state) if begun <= state.last => return,
            Some(state) => state.backoff.failures.saturating_add(1),
            None => 1,
        };
        let wait = jitter(delay(FIRST, LONGEST, failures), random);
        let until = now.checked_add(wait).unwrap_or(now);
        self.state =
            Some(State { backoff: Backoff { failures, until, reason: reason.to_owned() }, last: now });
    }

    /// How fast the pool may go on.
    pub(crate) fn pace(&self, now: Timestamp) -> Pace {
        match &self.state {
            None => Pace::Free,
            Some(state) if now < state.backoff.until => Pace::Hold,
            Some(_) => Pace::One,
        }
    }

    /// Forgets everything: an operator did something about it.
    pub(crate) fn reset(&mut self) {
        self.state = None;
    }

    /// For people, and for the timer.
    pub(crate) fn backoff(&self) -> Option<&Backoff> {
        self.state.as_ref().map(|state| &state.backoff)
    }
}

#[cfg(test)]
mod tests {
    use fireactions_model::{Failure, ImageRef, PhaseTimes, PoolName, Shape, Step};

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    #[test]
    fn waits_longer_each_time_up_to_a_limit() {
        let waits: Vec<u64> = (1..=12).map(|n| delay(FIRST, LONGEST, n).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(delay(FIRST, LONGEST, u32::MAX), LONGEST);
        for random in [-1.0, 0.0, 0.3, 1.0, 7.0] {
            let wait = jitter(Duration::from_secs(10), random);
            assert!(wait >= Duration::from_secs(5) && wait <= Duration::from_secs(10), "{wait:?}");
        }
    }

    fn machine(n: u8, state: MachineState, kind: FailureKind, since: Timestamp) -> MachineView {
        let image = ImageRef::new("debian").unwrap();
        MachineView {
            id: MachineId::from_random([n; 8]),
            pool: PoolName::new("a").unwrap(),
            shape: Shape { image, vcpus: 1, memory_mib: 512, disk_mib: 100 },
            state,
            step: Step::Hold,
            job: None,
            pid: None,
            address: None,
            failure: Some(Failure { kind, message: "broken".to_owned() }),
            phases: PhaseTimes::new(),
            created_at: at(0),
            state_since: since,
            held_until: None,
            started: None,
        }
    }

    #[test]
    fn failed_jobs_and_failures_before_the_start_do_not_count_and_a_held_machine_counts_once() {
        let mut failures = Failures::since(at(10));
        let own = machine(1, MachineState::Held, FailureKind::Job, at(11));
        let old = machine(2, MachineState::Held, FailureKind::Guest, at(9));
        failures.observe([&own, &old].into_iter(), at(20), 1.0);
        assert_eq!(failures.backoff(), None);
        let fresh = machine(3, MachineState::Held, FailureKind::Guest, at(11));
        for second in 20..30 {
            failures.observe([&own, &old, &fresh].into_iter(), at(second), 1.0);
        }
        let backoff = failures.backoff().unwrap();
        assert_eq!((backoff.failures, backoff.until), (1, at(21)));
        assert_eq!(failures.pace(at(30)), Pace::One);
    }

    #[test]
    fn a_machine_that_comes_up_only_to_fail_does_not_end_the_backoff() {
        let mut failures = Failures::default();
        failures.failed(at(0), "the guest rebooted", at(5), 1.0);
        let up = |state, job| MachineView {
            failure: None,
            created_at: at(6),
            job,
            ..machine(1, state, FailureKind::Guest, at(10))
        };
        for state in [MachineState::Ready, MachineState::Starting, MachineState::Busy] {
            failures.observe([&up(state, None)].into_iter(), at(14), 1.0);
            assert!(failures.backoff().is_some(), "{state}: it may reboot yet");
        }
        failures.observe([&up(MachineState::Stopping, None)].into_iter(), at(30), 1.0);
        assert!(failures.backoff().is_some(), "it went without having shown anything");
        failures.failed(at(6), "the guest rebooted", at(15), 1.0);
        assert_eq!(failures.backoff().unwrap().failures, 2, "so the waits grow");
        let later = |state, job| MachineView { created_at: at(16), ..up(state, job) };
        let job = Some(fireactions_model::JobId::from_random([1; 8]));
        failures.observe([&later(MachineState::Stopping, job)].into_iter(), at(17), 1.0);
        assert_eq!(failures.backoff(), None, "it had a job and did it");
        failures.failed(at(0), "the guest rebooted", at(5), 1.0);
        failures.observe([&later(MachineState::Ready, None)].into_iter(), at(15), 1.0);
        assert_eq!(failures.backoff(), None, "it has been up for five seconds");
    }

    #[test]
    fn machines_that_fail_together_count_once() {
        let mut failures = Failures::default();
        for _ in 0..10 {
            failures.failed(at(0), "no such image", at(5), 1.0);
        }
        assert_eq!(failures.backoff().unwrap().failures, 1);
        assert_eq!(failures.pace(at(5)), Pace::Hold);
        assert_eq!(failures.pace(at(6)), Pace::One);
        failures.failed(at(6), "no such image", at(7), 1.0);
        assert_eq!(failures.backoff().unwrap().failures, 2);
        assert_eq!(failures.backoff().unwrap().until, at(9));
        failures.reset();
        assert_eq!(failures.pace(at(7)), Pace::Free);
    }
}
