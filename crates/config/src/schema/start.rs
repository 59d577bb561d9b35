//! How a pool's machines come to run, and what they may ask of their disk.

use fireactions_model as model;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How machines come to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StartSetting {
    /// Each boots its kernel.
    Boot,
    /// Each is a clone of a machine that was frozen after its boot, before it had an identity; it starts many times
    /// faster, and clones share the memory that they only read. They also share what the kernel chose at random while
    /// it booted (see docs/security.md). A machine boots as long as there is no such template, when one fails, and
    /// wherever clones are not possible: `init: image`, `huge_pages: hugetlbfs`, a VMM that has no snapshots.
    #[default]
    Snapshot,
}

impl StartSetting {
    pub(super) const fn spec(self) -> model::StartMode {
        match self {
            Self::Boot => model::StartMode::Boot,
            Self::Snapshot => model::StartMode::Snapshot,
        }
    }
}

/// Most that a machine may ask of its writable disk, reads and writes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DiskLimitsConfig {
    /// MiB a second; no limit when absent.
    #[schemars(range(min = 1, max = 1_048_576), example = 200)]
    pub mib_per_second: Option<u32>,
    /// Operations a second; no limit when absent.
    #[schemars(range(min = 1, max = 100_000_000), example = 5000)]
    pub iops: Option<u32>,
}

impl DiskLimitsConfig {
    pub(super) const fn spec(self) -> model::DiskLimits {
        model::DiskLimits { mib_per_second: self.mib_per_second, iops: self.iops }
    }
}
