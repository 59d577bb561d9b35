//! A pool as others see it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{MachineState, PoolName, PoolSpec};

/// What operators changed while the server runs. Kept over restarts, until taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PoolOverride {
    /// No new machines are begun and idle ones are let go; running jobs end in peace.
    pub paused: bool,
    /// Minimum and maximum that replace the configuration's.
    pub scale: Option<(u32, u32)>,
}

/// The pool waits before it creates the next machine, because the last ones failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Backoff {
    /// Failures in a row.
    pub failures: u32,
    /// No machine is created before this time.
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub until: Timestamp,
    /// What the last failure said.
    pub reason: String,
}

/// A pool's current state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PoolView {
    /// As configured.
    pub spec: PoolSpec,
    /// An operator paused it.
    pub paused: bool,
    /// The whole host is drained: no pool makes machines.
    #[serde(default)]
    pub host_drained: bool,
    /// Minimum in effect now.
    pub min_runners: u32,
    /// Maximum in effect now.
    pub max_runners: u32,
    /// Machines by state; states without machines are left out.
    #[cfg_attr(feature = "schema", schema(value_type = BTreeMap<String, u32>))]
    pub machines: BTreeMap<MachineState, u32>,
    /// Jobs waiting for this pool, as last reported by the forge.
    pub queued: u32,
    /// Set while the pool waits after failures.
    pub backoff: Option<Backoff>,
    /// Why wanted machines are not created (host full, at the maximum, forge out of reach), for people.
    pub waiting_for: Option<String>,
    /// What is wrong with its runners at their forge (no session, missing labels, a refused registration), for people.
    #[serde(default)]
    pub problem: Option<String>,
}

impl PoolView {
    /// The pool's name.
    pub const fn name(&self) -> &PoolName {
        &self.spec.name
    }

    /// What keeps it from making machines, for people; nothing while it may.
    pub fn obstacle(&self) -> Option<String> {
        if self.host_drained {
            return Some("host drained".to_owned());
        }
        if self.paused {
            return Some("paused".to_owned());
        }
        if let Some(problem) = &self.problem {
            return Some(format!("error: {problem}"));
        }
        match &self.backoff {
            Some(backoff) => Some(format!("waits after {} failures: {}", backoff.failures, backoff.reason)),
            None => self.waiting_for.clone(),
        }
    }
}
