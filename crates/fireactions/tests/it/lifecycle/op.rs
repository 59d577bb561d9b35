//! What can happen to a host, and when: the reference that operations are picked by.

use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;

use crate::lifecycle::play::Play;

/// Pools of the host, see `server.rs`.
pub(crate) const POOLS: [&str; 2] = ["plain", "holding"];
/// What each pool may have at most, as configured.
pub(crate) const MAX_RUNNERS: [u32; 2] = [3, 2];
/// More jobs than this make a case longer, not richer.
const MOST_JOBS: usize = 14;
/// Each stopped VMM costs the case the time until a deadline notices.
const MOST_STOPPED: usize = 2;

/// How a server goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Down {
    /// As by kill -9.
    Crash,
    /// As for a handover: everything stays as it is.
    Detach,
    /// `shutdown.mode: leave`.
    Leave,
    /// `shutdown.mode: kill`.
    Kill,
}

/// One thing that happens. Machines and jobs are meant by a number that is taken modulo how many there are.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Submit {
        pool: usize,
        play: Play,
    },
    Cancel {
        job: usize,
    },
    Down(Down),
    Up,
    /// SIGKILL to a VMM.
    Kill {
        machine: usize,
    },
    /// SIGSTOP to a VMM.
    Stop {
        machine: usize,
    },
    /// SIGCONT to all that are stopped.
    Continue,
    Pause {
        pool: usize,
    },
    Resume {
        pool: usize,
    },
    Scale {
        pool: usize,
        min: u32,
        max: u32,
    },
    /// Somebody deletes a machine's tap.
    RemoveTap {
        machine: usize,
    },
    /// The host is drained for maintenance.
    Drain,
    Undrain,
    /// Somebody runs `nft flush ruleset`.
    FlushRules,
    Wait {
        ms: u16,
    },
    /// Until a job runs, two seconds at most: what happens next happens to that, however slow the host is.
    UntilBusy,
}

/// As much of the host's state as decides what may happen next.
#[derive(Debug, Clone)]
pub(crate) struct Reference {
    up: bool,
    jobs: usize,
    drained: bool,
    stopped: usize,
}

impl ReferenceStateMachine for Reference {
    type State = Self;
    type Transition = Op;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self { up: true, jobs: 0, drained: false, stopped: 0 }).boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Op> {
        let pool = 0..POOLS.len();
        let any = 0..8_usize;
        let mut all: Vec<(u32, BoxedStrategy<Op>)> = vec![
            (3, any.clone().prop_map(|machine| Op::Kill { machine }).boxed()),
            (1, any.clone().prop_map(|machine| Op::RemoveTap { machine }).boxed()),
            (1, Just(Op::FlushRules).boxed()),
            (10, prop_oneof![3 => 0..50_u16, 2 => 50..600_u16].prop_map(|ms| Op::Wait { ms }).boxed()),
        ];
        if state.up {
            let down = prop_oneof![
                4 => Just(Down::Crash), 1 => Just(Down::Detach), 2 => Just(Down::Leave), 1 => Just(Down::Kill)
            ];
            let scale = (pool.clone(), 0..3_u32, 0..5_u32);
            let scale = scale.prop_map(|(pool, min, max)| Op::Scale { pool, min: min.min(max), max });
            let pause = pool.clone().prop_map(|pool| Op::Pause { pool });
            let resume = pool.clone().prop_map(|pool| Op::Resume { pool });
            if state.drained {
                all.push((6, Just(Op::Undrain).boxed()));
            } else {
                all.push((1, Just(Op::Drain).boxed()));
            }
            all.push((5, down.prop_map(Op::Down).boxed()));
            all.push((2, scale.boxed()));
            all.push((2, prop_oneof![1 => pause, 2 => resume].boxed()));
            if state.jobs < MOST_JOBS {
                let submit = (pool, Play::strategy()).prop_map(|(pool, play)| Op::Submit { pool, play });
                all.push((14, submit.boxed()));
            }
            if state.jobs > 0 {
                all.push((3, any.clone().prop_map(|job| Op::Cancel { job }).boxed()));
                all.push((6, Just(Op::UntilBusy).boxed()));
            }
        } else {
            all.push((12, Just(Op::Up).boxed()));
        }
        if state.stopped < MOST_STOPPED {
            all.push((1, any.prop_map(|machine| Op::Stop { machine }).boxed()));
        }
        if state.stopped > 0 {
            all.push((3, Just(Op::Continue).boxed()));
        }
        proptest::strategy::Union::new_weighted(all).boxed()
    }

    fn apply(mut state: Self, op: &Op) -> Self {
        match op {
            Op::Submit { .. } => state.jobs += 1,
            Op::Down(_) => state.up = false,
            Op::Up => state.up = true,
            Op::Drain => state.drained = true,
            Op::Undrain => state.drained = false,
            Op::Stop { .. } => state.stopped += 1,
            Op::Continue => state.stopped = 0,
            _ => {}
        }
        state
    }

    /// For shrinking: operations were taken out before this one.
    fn preconditions(state: &Self, op: &Op) -> bool {
        match op {
            Op::Drain
            | Op::Undrain
            | Op::Submit { .. }
            | Op::Down(_)
            | Op::Scale { .. }
            | Op::Pause { .. }
            | Op::Resume { .. } => state.up,
            Op::Cancel { .. } | Op::UntilBusy => state.up && state.jobs > 0,
            Op::Up => !state.up,
            Op::Kill { .. }
            | Op::Stop { .. }
            | Op::Continue
            | Op::RemoveTap { .. }
            | Op::FlushRules
            | Op::Wait { .. } => true,
        }
    }
}
