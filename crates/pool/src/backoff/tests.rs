use fireactions_model::{Failure, ImageRef, JobId, PhaseTimes, PoolName, Shape, Step};

use super::*;

/// Times of one test.
#[derive(Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn new() -> Self {
        Self(Instant::now())
    }

    fn at(self, seconds: u64) -> Instant {
        self.0 + Duration::from_secs(seconds)
    }
}

fn machine(n: u8, state: MachineState, failure: Option<FailureKind>) -> MachineView {
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
        failure: failure.map(|kind| Failure { kind, message: "broken".to_owned() }),
        phases: PhaseTimes::new(),
        created_at: Timestamp::UNIX_EPOCH,
        state_since: Timestamp::UNIX_EPOCH,
        held_until: None,
        hold_secs: None,
        started: None,
        unrecorded: None,
    }
}

fn with_job(view: MachineView) -> MachineView {
    MachineView { job: Some(JobId::from_random([1; 8])), ..view }
}

#[test]
fn failed_jobs_do_not_count_and_a_held_machine_counts_once() {
    let (mut failures, clock) = (Failures::default(), Clock::new());
    let own = machine(1, MachineState::Held, Some(FailureKind::Job));
    failures.observe([&own].into_iter(), clock.at(20), 1.0);
    assert_eq!(failures.pace(clock.at(20)), Pace::Free);
    let fresh = machine(3, MachineState::Held, Some(FailureKind::Guest));
    for second in 20..30 {
        failures.observe([&own, &fresh].into_iter(), clock.at(second), 1.0);
    }
    assert_eq!((failures.backoff().unwrap().failures, failures.until()), (1, Some(clock.at(21))));
    assert_eq!(failures.pace(clock.at(30)), Pace::One);
}

#[test]
fn a_machine_that_comes_up_only_to_fail_does_not_end_the_backoff() {
    let (mut failures, clock) = (Failures::default(), Clock::new());
    failures.observe(
        [&machine(9, MachineState::Stopping, Some(FailureKind::Guest))].into_iter(),
        clock.at(5),
        1.0,
    );
    for state in [MachineState::Ready, MachineState::Starting, MachineState::Busy] {
        failures.observe([&machine(1, state, None)].into_iter(), clock.at(10), 1.0);
        failures.observe([&machine(1, state, None)].into_iter(), clock.at(14), 1.0);
        assert!(failures.backoff().is_some(), "{state}: it may reboot yet");
    }
    failures.observe([&machine(1, MachineState::Stopping, None)].into_iter(), clock.at(30), 1.0);
    assert!(failures.backoff().is_some(), "it went without having shown anything");
    failures.observe(
        [&machine(1, MachineState::Stopping, Some(FailureKind::Guest))].into_iter(),
        clock.at(31),
        1.0,
    );
    assert_eq!(failures.backoff().unwrap().failures, 2, "so the waits grow");
    failures.observe([&with_job(machine(2, MachineState::Stopping, None))].into_iter(), clock.at(32), 1.0);
    assert_eq!(failures.backoff(), None, "it had a job and did it");
    failures.observe(
        [&machine(3, MachineState::Stopping, Some(FailureKind::Guest))].into_iter(),
        clock.at(33),
        1.0,
    );
    failures.observe([&machine(4, MachineState::Ready, None)].into_iter(), clock.at(34), 1.0);
    failures.observe([&machine(4, MachineState::Busy, None)].into_iter(), clock.at(39), 1.0);
    assert_eq!(failures.backoff(), None, "it has been up for five seconds");
}

#[test]
fn runners_that_end_without_a_job_wait_until_one_had_its_job() {
    let (mut failures, clock) = (Failures::default(), Clock::new());
    let ended = |n| with_job(machine(n, MachineState::Stopping, Some(FailureKind::Runner)));
    for n in 1..=5_u8 {
        // Each is warm for a minute first, and then runs for a minute.
        for (second, state) in [(0, MachineState::Ready), (60, MachineState::Busy)] {
            let at = clock.at(u64::from(n) * 1000 + second);
            failures.observe([&machine(n, state, None)].into_iter(), at, 1.0);
        }
        failures.observe([&ended(n)].into_iter(), clock.at(u64::from(n) * 1000 + 120), 1.0);
        assert_eq!(failures.backoff().map(|backoff| backoff.failures), Some(u32::from(n)));
    }
    let well = with_job(machine(7, MachineState::Stopping, None));
    failures.observe([&well].into_iter(), clock.at(9000), 1.0);
    assert_eq!(failures.backoff(), None);
}

#[test]
fn machines_that_fail_together_count_once_and_clocks_do_not_count_at_all() {
    let (mut failures, clock) = (Failures::default(), Clock::new());
    // As if the clock on the wall had been set back and forth by hours while they were made.
    let stepped = |n: u8| MachineView {
        created_at: Timestamp::UNIX_EPOCH + Duration::from_secs(7200 * u64::from(n % 3)),
        state_since: Timestamp::MAX,
        ..machine(n, MachineState::Booting, None)
    };
    let mut views: Vec<MachineView> = (0..10).map(stepped).collect();
    failures.observe(views.iter(), clock.at(0), 1.0);
    for n in 0..10 {
        views[n].failure = Some(Failure { kind: FailureKind::Image, message: "no such image".to_owned() });
        failures.observe(views.iter(), clock.at(5), 1.0);
        assert_eq!(failures.backoff().unwrap().failures, 1, "machine {n}");
    }
    assert_eq!((failures.pace(clock.at(5)), failures.pace(clock.at(6))), (Pace::Hold, Pace::One));
    let next = MachineView { failure: views[0].failure.clone(), ..stepped(11) };
    failures.observe([&next].into_iter(), clock.at(7), 1.0);
    assert_eq!((failures.backoff().unwrap().failures, failures.until()), (2, Some(clock.at(9))));
    failures.refused(clock.at(6), "no room", [].into_iter(), 1.0);
    assert_eq!(failures.backoff().unwrap().failures, 2, "it was tried before");
    failures.reset();
    assert_eq!(failures.pace(clock.at(7)), Pace::Free);
}
