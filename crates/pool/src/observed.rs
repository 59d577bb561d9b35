//! What is seen: the whole input of a decision, as plain data.

use std::collections::BTreeMap;
use std::time::Duration;

use fireactions_model::{Demand, MachineId, MachineState, PoolName, Shape};

use crate::Budget;

/// Everything that a decision depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The host's budget.
    pub budget: Budget,
    /// The host is drained: every pool counts as paused.
    pub drained: bool,
    /// Pools, in the configuration's order.
    pub pools: Vec<Pool>,
    /// Every machine that has a row, of every pool, also of pools that are no longer configured.
    pub machines: Vec<Machine>,
    /// A machine that nobody needs goes after it was ready for this long. Long enough that demand which comes
    /// and goes does not make and break machines.
    pub surplus_after: Duration,
    /// Jobs that got no machine for this long come before all others, the longest waiting first.
    pub patience: Duration,
}

/// One pool, as it is wanted now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: PoolName,
    /// Shape of its warm machines.
    pub shape: Shape,
    /// Machines to keep warm, beside those for waiting jobs.
    pub min: u32,
    /// Most machines, whatever their state but held.
    pub max: u32,
    /// No new machines, and no idle ones.
    pub paused: bool,
    /// Jobs that wait now, by the shape they need.
    pub demand: Demand,
    /// How long jobs of a shape have waited without a machine being begun for any of them. Absent is zero.
    pub waited: BTreeMap<Shape, Duration>,
    /// How fast machines of a shape may be begun. Absent is free.
    pub pace: BTreeMap<Shape, Pace>,
    /// A ready machine is replaced after this; zero is never.
    pub idle_deadline: Duration,
}

impl Observed {
    /// True when a pool makes machines and keeps idle ones.
    pub(crate) const fn is_open(&self, pool: &Pool) -> bool {
        !self.drained && !pool.paused
    }
}

impl Pool {
    /// How fast machines of this shape may be begun.
    pub(crate) fn pace_of(&self, shape: &Shape) -> Pace {
        self.pace.get(shape).copied().unwrap_or_default()
    }
}

/// How fast a pool may begin machines of one shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pace {
    /// As many as are wanted.
    #[default]
    Free,
    /// One at a time: the last ones failed, and the next shows whether it is over.
    One,
    /// None: too soon after a failure.
    Hold,
}

/// One machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its id.
    pub id: MachineId,
    /// Its pool.
    pub pool: PoolName,
    /// Its shape.
    pub shape: Shape,
    /// Its state.
    pub state: MachineState,
    /// How long it has been in that state.
    pub in_state: Duration,
    /// How long it has been.
    pub age: Duration,
}
