//! The host as a whole, as operators see it.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::MachineState;

/// The host makes no machines: somebody wants to work on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Drained {
    /// Since when.
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub since: Timestamp,
    /// The reason, as the operator wrote it; may be empty.
    pub why: String,
}

impl fmt::Display for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the host is drained since {:.0}", self.since)?;
        if self.why.is_empty() { Ok(()) } else { write!(f, ": {}", self.why) }
    }
}

/// How much of something is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Share {
    /// What is taken. It may be more than there is: the configuration may have changed.
    pub used: u64,
    /// Of how much. Absent where nothing limits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
}

/// What machines take of the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HostBudget {
    /// Virtual processors of all machines, of what the configuration gives them.
    pub vcpus: Share,
    /// Memory of all machines with what each costs beside it, in MiB, of what the configuration gives them.
    pub memory_mib: Share,
    /// Slots: each machine has an address and a tap of its own, of those that the network has.
    pub slots: Share,
    /// The file system with the server's state, its images and its machines' disks, in MiB: what is taken, by anybody. Absent
    /// where it cannot be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_mib: Option<Share>,
}

/// The host's current state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HostView {
    /// Set while it is drained.
    pub drained: Option<Drained>,
    /// Machines by state, of all pools; states without machines are left out.
    #[cfg_attr(feature = "schema", schema(value_type = BTreeMap<String, u32>))]
    pub machines: BTreeMap<MachineState, u32>,
    /// What machines take of it.
    #[serde(default)]
    pub budget: HostBudget,
}

impl HostView {
    /// Machines that have a job.
    pub fn busy(&self) -> u32 {
        self.machines.iter().filter(|(state, _)| state.is_busy()).map(|(_, count)| count).sum()
    }
}
