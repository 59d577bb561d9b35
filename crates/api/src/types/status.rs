//! What the server says about itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// Version of the server.
    pub version: String,
    /// VMM driver, e.g. `qemu`.
    pub vmm: String,
    /// Version of the VMM, as it prints it; empty if the server does not report it.
    #[serde(default)]
    pub vmm_version: String,
    /// Accelerator in use (`kvm`, `tcg`) and why it was chosen.
    pub accel: String,
    /// Process id of the server.
    pub pid: u32,
}

/// Whether the server can do its work now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// True if jobs are accepted and can run.
    pub ready: bool,
    /// What prevents that, one line each. A drained host is ready, because jobs are queued, and says so here.
    pub reasons: Vec<String>,
}
