//! What a pool's machines are made of. The section has its name from existing files.

use std::collections::BTreeMap;

use fireactions_model as model;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AbsolutePath, CommandName, DiskLimitsConfig, ModuleName, patterns};

/// The hardware and kernel of the machines.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FirecrackerConfig {
    /// Firecracker's binary, as existing files name it. A server uses one for all pools: `vmm.firecracker_binary` comes
    /// first; without it, all pools must name the same one. The QEMU driver does not use it.
    #[schemars(example = &"firecracker")]
    pub binary_path: Option<CommandName>,
    /// Guest kernel (`vmlinux` or `bzImage`; Firecracker up to 1.16 accepts only a `vmlinux`). When absent,
    /// `kernel.image`.
    #[schemars(example = "/var/lib/fireactions/vmlinux")]
    pub kernel_image_path: Option<AbsolutePath>,
    /// Module directory of `kernel_image_path`.
    pub kernel_modules_path: Option<AbsolutePath>,
    /// Kernel modules that are loaded in each guest, after those of `kernel.modules_load`.
    #[schemars(length(max = 64), example = ["ip_vs"])]
    pub kernel_modules_load: Vec<ModuleName>,
    /// Appended to the kernel command line, without words that are the server's own business, such as `console=`,
    /// `reboot=`, `panic=`, `pci=`, `noapic` and `rw`: guests get these as their VMM needs them.
    #[schemars(extend("pattern" = patterns::KERNEL_ARGS, "maxLength" = 1500))]
    pub kernel_args: String,
    /// Size of a machine, and the pages of its memory.
    pub machine_config: MachineConfig,
    /// Whether the guest has a serial console under Firecracker. It makes every boot slower, but without it
    /// `fireactions logs` has nothing to show. QEMU's machines always have one.
    pub console: bool,
    /// Free-form data for the guest; with Firecracker also in its metadata service.
    #[schemars(example = BTreeMap::from([("team", "platform")]))]
    pub metadata: BTreeMap<String, Value>,
    /// `user-data` of Firecracker's metadata service, as cloud-init reads it. Any process in the guest can read it.
    #[schemars(example = &"#cloud-config\nssh_pwauth: false\n")]
    pub user_data: Option<String>,
    /// Protocol of Firecracker's metadata service.
    pub mmds_version: MmdsSetting,
    /// Firecracker's CPU template, which hides features that not all CPUs of a fleet have. When absent, guests see the
    /// host's CPU. It must fit the host's CPU, or no machine starts.
    #[schemars(example = CpuTemplate::T2S)]
    pub cpu_template: Option<CpuTemplate>,
}

/// Size of a machine, and the pages of its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MachineConfig {
    /// Guest memory in MiB.
    #[schemars(range(min = 64, max = 16_777_216))]
    pub mem_size_mib: u32,
    /// Virtual CPUs. Firecracker supports at most 32.
    #[schemars(range(min = 1, max = 64))]
    pub vcpu_count: u8,
    /// Size of the pages with which the host backs guest memory, for Firecracker.
    pub huge_pages: HugePagesSetting,
}

impl Default for MachineConfig {
    fn default() -> Self {
        Self { mem_size_mib: 1024, vcpu_count: 1, huge_pages: HugePagesSetting::None }
    }
}

/// Size of the pages with which the host backs guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HugePagesSetting {
    /// Pages of 4 KiB.
    #[default]
    None,
    /// Pages of 2 MiB where the host's kernel has some available (transparent huge pages).
    Transparent,
    /// Pages of 2 MiB that the operator reserved (`vm.nr_hugepages`). Machines then boot: they cannot be clones.
    Hugetlbfs,
}

/// Protocol of Firecracker's metadata service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum MmdsSetting {
    /// Any request is answered. Only for images whose cloud-init does not support session tokens.
    V1,
    /// Requests need a session token, so a program in a job that is tricked into sending a request (SSRF) gets no
    /// answer.
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
    /// AMD Milan, as close to T2CL as possible.
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
