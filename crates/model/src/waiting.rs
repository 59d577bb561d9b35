//! Why a queued job has no machine yet, or an ended one no result.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Drained, ImageRef, Label, MachineId, MachineState, Outcome, PoolName, Shape};

/// Where a queued job belongs, as its forge sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A pool serves it.
    Pool {
        /// Which pool.
        pool: PoolName,
        /// What machine it needs.
        shape: Shape,
        /// Jobs of the same pool and shape that come before it.
        ahead: u32,
    },
    /// No active pool has all of its labels.
    Nowhere {
        /// The pool that lacks the fewest; absent when no pool is active.
        nearest: Option<PoolName>,
        /// What the nearest lacks.
        lacks: Vec<Label>,
    },
}

/// What a job waits for, most telling first. Its `Display` is one line for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum WaitReason {
    /// No active pool has all of its labels.
    NoPool {
        /// The pool that lacks the fewest; absent when no pool is active.
        nearest: Option<PoolName>,
        /// What the nearest lacks.
        lacks: Vec<Label>,
    },
    /// The host is drained: it makes no machines until somebody says so.
    Drained(Drained),
    /// An operator paused its pool.
    Paused {
        /// Which pool.
        pool: PoolName,
    },
    /// A machine for it is being made and its image is being fetched.
    Image {
        /// Which pool.
        pool: PoolName,
        /// Which image.
        image: ImageRef,
        /// How much of it has been fetched, 0 to 100; absent while unknown.
        percent: Option<u8>,
        /// "pulling", "converting", …
        status: String,
    },
    /// A machine for it is starting.
    Starting {
        /// Which pool.
        pool: PoolName,
        /// Which machine.
        machine: MachineId,
        /// How far it is.
        state: MachineState,
    },
    /// Machines like the one it needs failed; the next attempt is later.
    BackingOff {
        /// Which pool.
        pool: PoolName,
        /// When.
        #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
        until: Timestamp,
        /// Failures in a row.
        failures: u32,
        /// What the last failure said.
        error: String,
    },
    /// It needs a machine larger than the host's whole budget.
    TooLarge {
        /// Which pool.
        pool: PoolName,
    },
    /// Its pool has as many machines as it may have.
    PoolAtMaximum {
        /// Which pool.
        pool: PoolName,
        /// How many that is.
        max: u32,
    },
    /// The host's budget of CPUs or memory is used up.
    HostFull {
        /// Which pool.
        pool: PoolName,
        /// Machines that are held for inspection and take a part of the budget.
        #[serde(default)]
        held: u32,
        /// Memory that the held machines take with their overhead, MiB.
        #[serde(default)]
        held_mib: u64,
    },
    /// It has ended, but its result could not be recorded yet.
    Recording {
        /// How it ended.
        outcome: Outcome,
        /// Why the last attempt failed.
        why: String,
    },
    /// There is no obstacle: it gets a machine at the next look at the pools.
    Turn {
        /// Which pool.
        pool: PoolName,
    },
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPool { nearest: None, .. } => f.write_str("no pool is active"),
            Self::NoPool { nearest: Some(pool), lacks } => {
                let lacks: Vec<String> = lacks.iter().map(|label| format!("'{label}'")).collect();
                write!(f, "no pool has all its labels; the nearest, '{pool}', lacks {}", lacks.join(", "))
            }
            Self::Drained(drained) => drained.fmt(f),
            Self::Paused { pool } => write!(f, "pool '{pool}' is paused"),
            Self::Image { pool, image, percent: Some(percent), status } => {
                write!(f, "pool '{pool}': image '{image}' is being fetched ({status}, {percent} %)")
            }
            Self::Image { pool, image, percent: None, status } => {
                write!(f, "pool '{pool}': image '{image}' is being fetched ({status})")
            }
            Self::Starting { pool, machine, state } => {
                write!(f, "pool '{pool}': machine {machine} is starting ({state})")
            }
            Self::BackingOff { pool, until, failures, error } => {
                write!(
                    f,
                    "pool '{pool}': next attempt at {until:.0}, after {failures} failures in a row: \
                     {error}"
                )
            }
            Self::TooLarge { pool } => {
                write!(f, "pool '{pool}': the job needs a machine larger than the host's whole budget")
            }
            Self::PoolAtMaximum { pool, max: 0 } => write!(f, "pool '{pool}' may have no machines"),
            Self::PoolAtMaximum { pool, max } => {
                write!(f, "pool '{pool}': all {max} of its machines are in use")
            }
            Self::HostFull { pool, held: 0, .. } => {
                write!(f, "pool '{pool}': the host's budget of CPUs or memory is used up")
            }
            Self::HostFull { pool, held, held_mib } => write!(
                f,
                "pool '{pool}': the host's budget of CPUs or memory is used up, and {held} held machines take \
                 {held_mib} MiB of it"
            ),
            Self::Recording { outcome, why } => {
                write!(f, "the result is known ({outcome}), but not recorded yet: {why}")
            }
            Self::Turn { pool } => write!(f, "pool '{pool}': a machine is about to be started"),
        }
    }
}
