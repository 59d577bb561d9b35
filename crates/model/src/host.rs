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

/// The host's current state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HostView {
    /// Set while it is drained.
    pub drained: Option<Drained>,
    /// Machines by state, of all pools; states without machines are left out.
    #[cfg_attr(feature = "schema", schema(value_type = BTreeMap<String, u32>))]
    pub machines: BTreeMap<MachineState, u32>,
}

impl HostView {
    /// Machines that have a job.
    pub fn busy(&self) -> u32 {
        self.machines.iter().filter(|(state, _)| state.is_busy()).map(|(_, count)| count).sum()
    }
}
