//! Pools as they stand.

use std::collections::BTreeMap;

use fireactions_model::{MachineState, PoolSpec};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A pool as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PoolView {
    /// As configured.
    #[schema(value_type = Object)]
    pub spec: PoolSpec,
    /// Takes no new machines.
    pub paused: bool,
    /// Machines kept warm now (configured, or scaled by a user).
    pub min: u32,
    /// Most machines now (configured, or scaled by a user).
    pub max: u32,
    /// Machines by state.
    #[schema(value_type = BTreeMap<String, u32>)]
    pub machines: BTreeMap<MachineState, u32>,
    /// Jobs that wait for this pool.
    pub queued: u32,
    /// Set while it makes no machines because the last ones failed.
    pub backoff: Option<BackoffView>,
}

/// Why a pool waits before it makes the next machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackoffView {
    /// Until then.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
    /// What failed.
    pub reason: String,
}

/// New bounds of a pool; they hold until the next change, restarts included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleRequest {
    /// Machines kept warm; as it is when absent.
    #[serde(default)]
    pub min: Option<u32>,
    /// Most machines at once; as it is when absent.
    #[serde(default)]
    pub max: Option<u32>,
}
