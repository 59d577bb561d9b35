//! What a pool's machines are made of. The section has its name from existing files.

use std::collections::BTreeMap;

use fireactions_model as model;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AbsolutePath, CommandName, DiskLimitsConfig, ModuleName, patterns};

/// What the machines are made of.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FirecrackerConfig {
    /// Firecracker's binary, as existing files name it. One server has one: `vmm.firecracker_binary` comes first, and
    /// without it all pools must name the same. Not used by the QEMU driver.
    #[schemars(example = &"firecracker")]
    pub binary_path: Option<CommandName>,
    /// Guest kernel (`vmlinux` or `bzImage`; Firecracker up to 1.16 takes only a `vmlinux`); `kernel.image` when absent.
    #[schemars(example = "/var/lib/fireactions/vmlinux")]
    pub kernel_image_path: Option<AbsolutePath>,
    /// Module directory that belongs to `kernel_image_path`.
    pub kernel_modules_path: Option<AbsolutePath>,
    /// Kernel modules that are loaded in each guest, after those of `kernel.modules_load`.
    #[schemars(length(max = 64), example = ["ip_vs"])]
    pub kernel_modules_load: Vec<ModuleName>,
    /// Appended to the kernel command line.
    #[schemars(extend("pattern" = patterns::KERNEL_ARGS, "maxLength" = 1500))]
    pub kernel_args: String,
    /// Size of a machine, and what its memory is made of.
    pub machine_config: MachineConfig,
    /// Whether the guest has a serial console under Firecracker. It costs time at every boot, and `fireactions logs`
    /// has nothing to show of a guest without. QEMU's machines always have one.
    pub console: bool,
    /// Free-form data handed to the guest; under Firecracker also in its metadata service.
    #[schemars(example = BTreeMap::from([("team", "platform")]))]
    pub metadata: BTreeMap<String, Value>,
    /// `user-data` of Firecracker's metadata service, as cloud-init reads it. Any process in the guest can read it.
    #[schemars(example = &"#cloud-config\nssh_pwauth: false\n")]
    pub user_data: Option<String>,
    /// Protocol of Firecracker's metadata service.
    pub mmds_version: MmdsSetting,
    /// Firecracker's CPU template, which hides what not all of a fleet's CPUs have; the host's CPU as it is when absent.
    /// It must fit the host's CPU, or no machine starts.
    #[schemars(example = CpuTemplate::T2S)]
    pub cpu_template: Option<CpuTemplate>,
}

/// Size of a machine, and what its memory is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MachineConfig {
    /// Guest memory in MiB.
    #[schemars(range(min = 64, max = 16_777_216))]
    pub mem_size_mib: u32,
    /// Virtual CPUs. Firecracker gives a machine 32 at most.
    #[schemars(range(min = 1, max = 64))]
    pub vcpu_count: u8,
    /// Pages that the host backs guest memory with, under Firecracker.
    pub huge_pages: HugePagesSetting,
}

impl Default for MachineConfig {
    fn default() -> Self {
        Self { mem_size_mib: 1024, vcpu_count: 1, huge_pages: HugePagesSetting::None }
    }
}

/// Pages that the host backs guest memory with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HugePagesSetting {
    /// Pages of 4 KiB.
    #[default]
    None,
    /// Pages of 2 MiB where the host's kernel has some at hand (transparent huge pages).
    Transparent,
    /// Pages of 2 MiB that the operator reserved (`vm.nr_hugepages`). Machines boot then: they cannot be clones.
    Hugetlbfs,
}

/// Protocol of Firecracker's metadata service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum MmdsSetting {
    /// Any request is answered. Only for images whose cloud-init knows no session tokens.
    V1,
    /// Requests need a session token, so that a job's server that is tricked into a request gets no answer.
    #[default]
    V2,
}

/// Firecracker's static CPU templates for x86.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CpuTemplate {
    /// Intel, like AWS C3.
    C3,
    /// Intel, like AWS T2.
    T2,
    /// Intel, like AWS T2, the same on Skylake and Cascade Lake.
    T2S,
    /// Intel Cascade Lake and Ice Lake, like AWS T2.
    T2CL,
    /// AMD Milan, as near to T2CL as it can be.
    T2A,
}

impl CpuTemplate {
    const fn as_str(self) -> &'static str {
        match self {
            Self::C3 => "C3",
            Self::T2 => "T2",
            Self::T2S => "T2S",
            Self::T2CL => "T2CL",
            Self::T2A => "T2A",
        }
    }
}

impl FirecrackerConfig {
    pub(super) fn hardware(&self, disk: DiskLimitsConfig, bytes_per_inode: u32) -> model::Hardware {
        model::Hardware {
            console: self.console,
            huge_pages: match self.machine_config.huge_pages {
                HugePagesSetting::None => model::HugePages::None,
                HugePagesSetting::Transparent => model::HugePages::Transparent,
                HugePagesSetting::Hugetlbfs => model::HugePages::Hugetlbfs,
            },
            disk_limits: disk.spec(),
            bytes_per_inode,
            mmds: match self.mmds_version {
                MmdsSetting::V1 => model::MmdsVersion::V1,
                MmdsSetting::V2 => model::MmdsVersion::V2,
            },
            cpu_template: self.cpu_template.map(|template| template.as_str().to_owned()),
        }
    }

    pub(super) fn modules_load(&self) -> Vec<String> {
        self.kernel_modules_load.iter().map(|name| name.as_str().to_owned()).collect()
    }

    pub(super) fn metadata(&self) -> Value {
        Value::Object(self.metadata.clone().into_iter().collect())
    }
}
