//! Processors and memory.

use std::ops::Not;

use serde::{Deserialize, Serialize};

use super::request::{Method, Request};
use super::{ApiError, Feature, Version};

/// Most virtual processors that Firecracker gives a guest.
const MAX_VCPUS: u8 = 32;

/// What guest memory is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum HugePages {
    /// Ordinary pages of 4 KiB.
    None,
    /// Transparent huge pages, by `madvise`. Since [`Feature::TransparentHugePages`].
    Transparent,
    /// Pages of 2 MiB from the host's hugetlbfs pool. Since [`Feature::HugePages`].
    #[serde(rename = "2M")]
    Hugetlbfs,
}

impl HugePages {
    fn check(self, version: Version) -> Result<(), ApiError> {
        version.require(match self {
            Self::Transparent => Feature::TransparentHugePages,
            Self::None | Self::Hugetlbfs => Feature::HugePages,
        })
    }
}

/// Firecracker's built-in CPU templates, which hide features of the host's processor from the guest. Deprecated by
/// Firecracker in favour of custom ones (`/cpu-config`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CpuTemplate {
    /// Intel, like a C3 instance.
    C3,
    /// Intel, like a T2 instance.
    T2,
    /// Intel, T2 and safe to migrate between Skylake and Cascade Lake.
    T2S,
    /// Intel Cascade Lake and later, like T2.
    T2CL,
    /// AMD Milan, like T2.
    T2A,
    /// ARM Neoverse V1 as N1.
    V1N1,
    /// No template.
    None,
}

/// `PUT /machine-config`. Before the start only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MachineConfig {
    /// Virtual processors, 1 to 32; 1 or even with `smt`.
    pub vcpu_count: u8,
    /// Memory in MiB, at least 1; even when `huge_pages` is transparent or hugetlbfs.
    pub mem_size_mib: u32,
    /// Two threads of a core for every two processors.
    #[serde(skip_serializing_if = "Not::not")]
    pub smt: bool,
    /// Keep track of written pages, for diff snapshots. Costs the guest speed.
    #[serde(skip_serializing_if = "Not::not")]
    pub track_dirty_pages: bool,
    /// Built-in CPU template; none when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_template: Option<CpuTemplate>,
    /// What the memory is made of; ordinary pages when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub huge_pages: Option<HugePages>,
}

impl MachineConfig {
    /// Processors and memory in MiB, the rest as Firecracker's defaults.
    pub fn new(vcpu_count: u8, mem_size_mib: u32) -> Self {
        Self {
            vcpu_count,
            mem_size_mib,
            smt: false,
            track_dirty_pages: false,
            cpu_template: None,
            huge_pages: None,
        }
    }
}

impl Request for MachineConfig {
    type Answer = ();
    const METHOD: Method = Method::Put;

    fn path(&self) -> String {
        "/machine-config".into()
    }

    fn check(&self, version: Version) -> Result<(), ApiError> {
        if !(1..=MAX_VCPUS).contains(&self.vcpu_count) {
            return Err(
                self.invalid(format!("{} vCPUs; Firecracker gives 1 to {MAX_VCPUS}", self.vcpu_count))
            );
        }
        if self.smt && self.vcpu_count > 1 && self.vcpu_count % 2 == 1 {
            return Err(
                self.invalid(format!("{} vCPUs with SMT; it takes 1 or an even number", self.vcpu_count))
            );
        }
        if self.mem_size_mib == 0 {
            return Err(self.invalid("a guest without memory"));
        }
        let Some(pages) = self.huge_pages else { return Ok(()) };
        if pages != HugePages::None && self.mem_size_mib % 2 == 1 {
            return Err(self.invalid(format!(
                "{} MiB in huge pages of 2 MiB; it takes an even number",
                self.mem_size_mib
            )));
        }
        pages.check(version)
    }
}
