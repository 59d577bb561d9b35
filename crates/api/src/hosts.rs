//! Other hosts, whose servers this one can ask for what its callers want to know of them.

use std::collections::BTreeMap;

use async_trait::async_trait;
use fireactions_model::PoolName;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Fault, Role};

/// A host of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HostEntry {
    /// Its name.
    pub name: String,
    /// It is the one that answers.
    pub this: bool,
    /// Its version.
    pub version: String,
    /// What fails together with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// An operator drained it.
    pub drained: bool,
    /// Forges that it listens to for all hosts.
    #[serde(default)]
    pub leads: Vec<String>,
}

/// The cluster in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FleetCounts {
    /// Hosts that are there.
    pub hosts: u64,
    /// Those of them that an operator drained.
    pub drained: u64,
    /// Jobs that no host has room for, by pool.
    pub unplaced: BTreeMap<PoolName, u32>,
}

/// What a caller of one host asks of another.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HostRequest {
    /// The method, such as `GET`.
    pub method: String,
    /// Path and query, such as `/api/v1/jobs?limit=10`.
    pub path: String,
    /// JSON.
    #[serde(default)]
    pub body: Option<String>,
    /// Who asks, for the log.
    pub caller: String,
    /// What that one may do, by the word of the host that it is known at.
    pub role: Role,
}

/// What the other host answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HostAnswer {
    /// An HTTP status.
    pub status: u16,
    /// JSON, or text.
    pub body: String,
    /// What the body is, such as `application/json`.
    pub content_type: String,
}

/// The hosts, as this one reaches them.
#[async_trait]
pub trait Hosts: Send + Sync {
    /// All of them, this one first.
    fn list(&self) -> Vec<HostEntry>;

    /// Their numbers for metrics.
    fn counts(&self) -> FleetCounts;

    /// Asks one.
    async fn ask(&self, host: &str, request: HostRequest) -> Result<HostAnswer, Fault>;
}
