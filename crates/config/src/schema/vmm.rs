//! The virtual machine monitor and the default guest kernel.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AbsolutePath, CommandName, ModuleName, patterns};

/// The virtual machine monitor.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VmmConfig {
    /// Which program runs the machines.
    pub driver: Driver,
    /// QEMU's x86_64 system emulator: an absolute path, or a name in `PATH`.
    pub qemu_binary: CommandName,
    /// Firecracker: an absolute path, or a name in `PATH`. When absent, the `firecracker.binary_path` of the pools, or
    /// else `firecracker`.
    #[schemars(example = "/usr/local/bin/firecracker")]
    pub firecracker_binary: Option<CommandName>,
    /// Firecracker's jailer, of the same version: an absolute path, or a name in `PATH`.
    pub jailer_binary: CommandName,
    /// Whether Firecracker runs in the jailer: in its own root directory, PID namespace and set of device files. This
    /// needs a server that runs as root; otherwise Firecracker runs without the jailer. It needs the statically linked
    /// (musl) Firecracker of the project's releases.
    pub jailer: bool,
    /// Whether to use hardware virtualization (KVM). Firecracker always uses it. `auto` tests whether `/dev/kvm` really
    /// runs a guest, and remembers the result.
    pub accel: Accel,
    /// First user and group id of the machines' processes. Each machine runs with the id `uid_base` plus its slot
    /// number; nothing else on the host may use these ids.
    #[schemars(range(min = 65536, max = 2_147_000_000))]
    pub uid_base: u32,
    /// Maximum size of a machine's console output that is kept, in KiB.
    #[schemars(range(min = 16, max = 1_048_576))]
    pub console_max_kib: u32,
    /// Parent cgroup of the machines' cgroups.
    #[schemars(extend("pattern" = patterns::CGROUP, "maxLength" = 200))]
    pub cgroup_parent: String,
}

impl Default for VmmConfig {
    fn default() -> Self {
        Self {
            driver: Driver::Qemu,
            qemu_binary: CommandName::fixed("qemu-system-x86_64"),
            firecracker_binary: None,
            jailer_binary: CommandName::fixed("jailer"),
            jailer: true,
            accel: Accel::Auto,
            // Above the range that systemd gives to containers (524288 to 1879048191).
            uid_base: 1_900_000_000,
            console_max_kib: 1024,
            cgroup_parent: "fireactions".to_owned(),
        }
    }
}

/// Which program runs the machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// QEMU's `microvm` machine, which runs anywhere, even without KVM.
    Qemu,
    /// Firecracker, for hosts with KVM. See docs/firecracker.md.
    Firecracker,
}

/// Whether to use hardware virtualization (KVM).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Accel {
    /// KVM where it really runs a guest, emulation otherwise.
    Auto,
    /// KVM; without it, the server does not start.
    Kvm,
    /// Emulation: slow, but runs everywhere.
    Tcg,
}

/// The default guest kernel, for pools that do not name their own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KernelConfig {
    /// An uncompressed `vmlinux` or a `bzImage`. Required unless every pool has a `kernel_image_path`.
    #[schemars(example = "/var/lib/fireactions/kernel/vmlinuz")]
    pub image: Option<AbsolutePath>,
    /// The kernel's module directory (`/lib/modules/VERSION`), for kernels that are not monolithic. What a guest needs to
    /// start is loaded from it; all of it is in each guest's `/lib/modules`, read-only, for `modprobe`.
    #[schemars(example = "/var/lib/fireactions/kernel/lib/modules/6.1.0-40-cloud-amd64")]
    pub modules: Option<AbsolutePath>,
    /// Kernel modules that are loaded in every guest, with what they need. For images without `modprobe`: where there is
    /// one, the kernel loads most of what a job needs by itself.
    #[schemars(length(max = 64), example = ["overlay", "br_netfilter"])]
    pub modules_load: Vec<ModuleName>,
    /// Appended to every guest's kernel command line, before a pool's own `kernel_args`, and like these.
    #[schemars(extend("pattern" = patterns::KERNEL_ARGS, "maxLength" = 1500))]
    pub args: String,
}
