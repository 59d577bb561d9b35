//! The checks by name. The names are for programs, too: they do not change.

use serde::Serialize;

/// What a check is about; findings are shown in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// Rights, memory.
    Host,
    /// Processors.
    Cpu,
    /// Hardware virtualization.
    Kvm,
    /// The driver for Firecracker.
    Firecracker,
    /// The driver for QEMU.
    Qemu,
    /// What guests boot.
    Kernel,
    /// Limits of machines from outside.
    Cgroup,
    /// Taps, rules, routing.
    Network,
    /// Images and scratch disks.
    Disk,
    /// The clock.
    Time,
    /// Limits of processes.
    Limits,
    /// Another host, by SSH ([`crate::prerequisites`]).
    Remote,
}

impl Group {
    /// The name in JSON and in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Cpu => "cpu",
            Self::Kvm => "kvm",
            Self::Firecracker => "firecracker",
            Self::Qemu => "qemu",
            Self::Kernel => "kernel",
            Self::Cgroup => "cgroup",
            Self::Network => "network",
            Self::Disk => "disk",
            Self::Time => "time",
            Self::Limits => "limits",
            Self::Remote => "remote",
        }
    }
}

/// One check.
#[derive(Debug, PartialEq, Eq)]
pub struct Check {
    /// What it is about.
    pub group: Group,
    /// Its name, unique.
    pub name: &'static str,
    /// What is looked at, for the manual.
    pub about: &'static str,
}

macro_rules! checks {
    ($($id:ident: $group:ident $name:literal $about:literal;)*) => {
        $(pub(super) static $id: Check = Check { group: Group::$group, name: $name, about: $about };)*
        /// All checks, by group.
        pub static CHECKS: &[&Check] = &[$(&$id),*];
    };
}

checks! {
    CONFIG: Host "config" "the configuration is valid; if it is not, nothing else is checked";
    ROOT: Host "root" "doctor runs as root; otherwise some checks say less";
    SIZE: Host "size" "processors and memory of the host";
    SWAP: Host "swap" "no swap: guests' memory, secrets included, would be written to a disk";
    KSM: Host "ksm" "same-page merging is off: its timing tells a guest what another has in memory";
    HUGE_PAGES: Host "huge_pages" "enough huge pages are reserved for the pools that ask for hugetlbfs";
    VIRTUALIZATION: Cpu "virtualization" "the processor's virtualization (vmx, svm), and whether this host is a virtual machine itself";
    SMT: Cpu "smt" "hyper-threads are off: two guests on one core can spy on each other";
    VULNERABILITIES: Cpu "vulnerabilities" "what the kernel reports about known faults of the processor";
    KVM_DEVICE: Kvm "kvm_device" "`/dev/kvm` exists and can be opened by those who need it";
    KVM_RUNS: Kvm "kvm_runs" "a guest of a few instructions really runs, on the processor and not in software";
    FIRECRACKER: Firecracker "firecracker" "Firecracker is installed, static, and new enough";
    JAILER: Firecracker "jailer" "the jailer is installed, static, and of Firecracker's version";
    QEMU: Qemu "qemu" "QEMU is installed and has the `microvm` machine";
    ACCEL: Qemu "accel" "KVM or emulation, as the server would choose";
    AGENT: Kernel "agent" "the guest agent's program";
    KERNEL: Kernel "kernel" "each pool's guest kernel is one that the VMM can start";
    MODULES: Kernel "modules" "the kernel's modules, and that they are of the same release";
    FEATURES: Kernel "kernel_features" "what the guest needs is in its kernel or among the modules, according to the configuration in the image or beside it";
    CONTAINERS: Kernel "kernel_containers" "what container engines in guests ask of their kernel (after Docker 28's check-config.sh)";
    CGROUP: Cgroup "cgroup" "control groups: version, and the controllers memory, cpu, pids and io";
    TUN: Network "tun" "`/dev/net/tun` can be opened";
    FORWARD: Network "ip_forward" "the host routes IPv4";
    NFT: Network "nft" "the program `nft`";
    NFTABLES: Network "nftables" "the kernel has nftables and lets us list them";
    FIREWALL: Network "firewall" "no other table drops guests' traffic through the host";
    BRIDGE_FILTER: Network "bridge_netfilter" "frames between the bridge's ports are not sent through iptables";
    CONNTRACK: Network "conntrack" "room for the connections of all machines";
    FORGET: Network "conntrack_netlink" "the kernel forgets the connections of an address when it is told to";
    REGISTRY_CACHE: Network "registry_cache" "the program that caches registries, Zot or docker-registry, if `registry_cache` is on";
    SPACE: Disk "disk" "free space under `state_dir`";
    ACTIONS_CACHE: Disk "actions_cache" "the file system has room for the cache of actions, if `actions_cache` is on";
    INODES: Disk "inodes" "free inodes under `state_dir`";
    REFLINK: Disk "reflink" "files under `state_dir` can share blocks (tried on two unnamed files)";
    JAILS: Disk "mount_options" "the file system of `state_dir` supports the jailer's device files and programs";
    LINKS: Disk "hard_links" "images, boot files and machines are on one file system";
    TAR2SQFS: Disk "tar2sqfs" "the program that makes root images";
    ZSTD: Disk "zstd" "the program that unpacks the layers of images";
    MKE2FS: Disk "mke2fs" "the program that makes scratch disks";
    CLOCK: Time "clock" "the kernel says that a time service keeps its clock";
    FILES: Limits "open_files" "open files: of a running server, or else of this process";
    TASKS: Limits "tasks" "processes and threads that the kernel allows";
    MAPS: Limits "map_count" "memory mappings that the kernel allows a process";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_groups_stand_together() {
        let mut names: Vec<_> = CHECKS.iter().map(|check| check.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CHECKS.len());
        assert!(CHECKS.is_sorted_by_key(|check| check.group));
    }

    #[test]
    fn the_manual_has_every_check() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/doctor.md");
        let page = std::fs::read_to_string(path).unwrap();
        for check in CHECKS {
            let line = format!("| {} | `{}` | {} |", check.group.as_str(), check.name, check.about);
            assert!(page.contains(&line), "docs/doctor.md lacks this line:\n{line}");
        }
    }
}
