//! The actions of a plan, and the obstacles to what it could not do.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use fireactions_model::{MachineId, PoolName, Shape, Spare};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Begin a machine.
    Create {
        /// For this pool.
        pool: PoolName,
        /// Of this shape.
        shape: Shape,
    },
    /// Take an idle machine down.
    Retire {
        /// Which.
        machine: MachineId,
        /// Why.
        why: Why,
    },
}

/// Why an idle machine goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The host is drained.
    HostDrained,
    /// Its pool is paused or no longer configured.
    PoolClosed,
    /// Its pool has more machines than it may have.
    AboveMaximum,
    /// A waiting job needs the room.
    RoomForJob,
    /// It was not needed for some time.
    Surplus,
    /// It waited longer than the pool's idle deadline; a fresh one takes its place.
    IdleDeadline,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HostDrained => "the host is drained",
            Self::PoolClosed => "its pool is paused or removed",
            Self::AboveMaximum => "its pool has too many machines",
            Self::RoomForJob => "a waiting job needs the room",
            Self::Surplus => "not needed for some time",
            Self::IdleDeadline => "idle deadline reached",
        })
    }
}

/// Machines that are held to be looked into: they serve nobody and take a part of the host's budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// How many.
    pub machines: u32,
    /// Their memory with the overhead, in MiB.
    pub memory_mib: u64,
}

/// The waiting jobs of one pool and shape.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    /// Idle machines that will take them, in the order in which they will.
    pub coming: Vec<MachineId>,
    /// Why there are not more of those, where jobs want more.
    pub obstacle: Option<Obstacle>,
}

/// Why a pool has fewer machines than it wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// Jobs want a machine that is larger than the whole budget.
    TooLarge,
    /// The last machines failed.
    Backoff,
    /// The pool has as many machines as it may have.
    Maximum,
    /// The host's budget is used up.
    HostFull,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "a job needs a machine larger than the host's whole budget",
            Self::Backoff => "waiting after failed machines",
            Self::Maximum => "the pool has max_runners machines",
            Self::HostFull => "the host's vCPU or memory budget is used up",
        })
    }
}

/// The outcome of one look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// What to do, in order.
    pub actions: Vec<Action>,
    /// Pools that get less than they want, with the most telling reason.
    pub obstacles: BTreeMap<PoolName, Obstacle>,
    /// Waiting jobs of open pools, by what they wait for.
    pub lines: BTreeMap<PoolName, BTreeMap<Shape, Line>>,
    /// What held machines take of the host.
    pub held: Held,
    /// Pools and shapes with waiting jobs for which no machine was begun. Whoever observes next counts how long.
    pub hungry: Vec<(PoolName, Shape)>,
    /// What of the host is left once all this is done; nothing while the host is drained.
    pub spare: Spare,
    /// After this a machine that nobody needs goes, if nothing changes; absent where all are needed.
    pub surplus_in: Option<Duration>,
}
