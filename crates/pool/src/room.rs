//! The room on the host and in each pool, now and once everything that is stopping is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use fireactions_model::{MachineState, Shape};

use crate::budget::Size;
use crate::{Machine, Observed, Pool};

/// Room on the host.
///
/// `now` counts every machine, for a stopping one holds its memory until it is gone. `soon` leaves the stopping
/// ones out: what fits there needs only patience, so no other machine has to make room for it.
pub(crate) struct HostRoom {
    pub(crate) now: Size,
    pub(crate) soon: Size,
}

impl HostRoom {
    pub(crate) fn new(observed: &Observed) -> Self {
        let mut room = Self { now: observed.budget.total(), soon: observed.budget.total() };
        for machine in &observed.machines {
            let need = observed.budget.need(&machine.shape);
            room.now = room.now.minus(need);
            if machine.state != MachineState::Stopping {
                room.soon = room.soon.minus(need);
            }
        }
        room
    }

    /// Sets a place aside, whether it is there or not: who comes later must do with what is left.
    pub(crate) fn take(&mut self, need: Size) {
        self.now = self.now.minus(need);
        self.soon = self.soon.minus(need);
    }
}

/// One pool while a plan is made.
pub(crate) struct PoolRoom<'a> {
    pub(crate) pool: &'a Pool,
    /// Machines with a row, and those begun in this plan; held ones are not the pool's any more.
    pub(crate) now: u32,
    /// The same without the stopping ones, and with those that this plan waits for.
    pub(crate) soon: u32,
    /// What its machines take of the host.
    pub(crate) used: Size,
    /// Machines begun in this plan.
    pub(crate) begun: u32,
    /// Machines that may still be begun of shapes that failed lately; others are free.
    pub(crate) starts: BTreeMap<&'a Shape, u32>,
    /// Idle machines that no waiting job needs; the first is the first to go.
    pub(crate) spare: Vec<&'a Machine>,
    /// Waiting jobs without a machine, by shape.
    pub(crate) unmet: Vec<Unmet<'a>>,
}

/// Waiting jobs of one shape that no idle machine will take.
pub(crate) struct Unmet<'a> {
    pub(crate) shape: &'a Shape,
    pub(crate) jobs: u32,
    /// Machines of this shape that the pool has or will have, to be fair between shapes.
    pub(crate) machines: u32,
    /// How long none of these jobs got a machine.
    pub(crate) waited: Duration,
}

impl PoolRoom<'_> {
    pub(crate) const fn below_max_now(&self) -> bool {
        self.now < self.pool.max
    }

    pub(crate) const fn below_max_soon(&self) -> bool {
        self.soon < self.pool.max
    }

    /// Idle machines of the pool's own shape that no job needs, fresh enough to count as warm.
    pub(crate) fn warm(&self) -> u32 {
        count(self.spare.iter().filter(|machine| machine.shape == self.pool.shape && !self.is_stale(machine)))
    }

    /// The longest wait of its jobs, if that is longer than `patience`.
    pub(crate) fn overdue(&self, patience: Duration) -> Duration {
        let longest = self.unmet.iter().map(|unmet| unmet.waited).max().unwrap_or_default();
        if longest >= patience { longest } else { Duration::ZERO }
    }

    /// The shape's failures let a machine be begun.
    pub(crate) fn may_start(&self, shape: &Shape) -> bool {
        self.starts.get(shape).is_none_or(|starts| *starts > 0)
    }

    /// Past the pool's idle deadline.
    pub(crate) fn is_stale(&self, machine: &Machine) -> bool {
        !self.pool.idle_deadline.is_zero()
            && machine.state == MachineState::Ready
            && machine.in_state >= self.pool.idle_deadline
    }
}

pub(crate) fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

/// The order in which idle machines go: the least advanced first, of equals the newest.
pub(crate) fn retire_order(machine: &Machine) -> (MachineState, Duration, String) {
    (machine.state, machine.age, machine.id.to_string())
}
