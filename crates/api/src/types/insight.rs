//! What the server says about its host, its past and its configuration.

use std::collections::BTreeMap;

use fireactions_model::PoolName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The last hours, a point a minute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct History {
    /// Seconds between two points. Where the server did not run, points are missing.
    pub step_seconds: u32,
    /// Since when points are kept.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// Oldest first.
    pub points: Vec<HistoryPoint>,
}

/// How things stood at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HistoryPoint {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// By the pool's name.
    #[schema(value_type = BTreeMap<String, PoolPoint>)]
    pub pools: BTreeMap<PoolName, PoolPoint>,
    /// Virtual processors of all machines together.
    pub vcpus_used: u64,
    /// Memory of all machines together.
    pub memory_used_mib: u64,
    /// Machines.
    pub machines: u32,
}

/// How a pool stood at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PoolPoint {
    /// Jobs that waited for it.
    pub queued: u32,
    /// Machines with a job.
    pub busy: u32,
    /// Machines that were ready for one.
    pub idle: u32,
    /// Machines on their way to be.
    pub starting: u32,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DoctorVerdict {
    /// As it should be.
    Ok,
    /// Works, but worse than it could.
    Warning,
    /// The server, or a part of it, will not work.
    Error,
    /// A newer server said something that this client does not know.
    #[serde(other)]
    Unknown,
}

/// What a check of the host found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DoctorFinding {
    /// What it is about: one of the groups of `fireactions doctor`.
    pub group: String,
    /// The check's name.
    pub name: String,
    /// How bad it is.
    pub verdict: DoctorVerdict,
    /// What was found. One line.
    pub found: String,
    /// What to do; absent when it is ok.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// The configuration that the server runs with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigView {
    /// Every key, in the order of the reference.
    pub entries: Vec<ConfigEntry>,
}

/// A key of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigEntry {
    /// Where it is, e.g. `pools[default].runner.image`.
    pub path: String,
    /// Its value: text as it is, everything else as JSON; empty where there is none. Secrets are `…`.
    pub value: String,
    /// The file does not say it.
    pub default: bool,
    /// What it means.
    pub doc: String,
}
