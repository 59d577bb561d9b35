//! The driver trait and the description of a virtual machine.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use fireactions_model::{GuestSetup, Hardware, InitMode, MachineId, MmdsVersion};
use serde_json::Value;

use crate::boot::BootFiles;
use crate::{ProcessRecord, Vm, VmmError};

/// A disk of the guest. The first is `/dev/vda`, the second `/dev/vdb`, and so on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drive {
    /// Name inside the VMM: ASCII letters, digits, `-` and `_`, starting with a letter.
    pub id: String,
    /// Raw image. The server opens it; the VM's own user needs no right to it.
    pub path: PathBuf,
    /// Opened and shown to the guest read-only. A writable drive belongs to this machine alone and ends with
    /// it: its flushes are ignored, so a host crash may tear it.
    pub read_only: bool,
}

/// A network card of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// A tap of the server's network namespace, made without `multi_queue`; see [`Capabilities::makes_taps`].
    pub tap: String,
    /// The guest's address on it. A restored guest wakes up with its template's and takes this one from its identity.
    pub mac: [u8; 6],
    /// Most that goes through it each way, in Mbit/s, where the VMM itself can limit it; none when absent.
    pub bandwidth_mbit: Option<u32>,
}

/// How a machine comes to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// Its kernel boots.
    Boot,
    /// Its kernel boots, to be frozen by [`Vm::freeze`] into this existing, empty directory of the server's own.
    Template(PathBuf),
    /// It is a clone of the template in this directory. The rest of the specification must be the template's, but
    /// for the id, the run directory, the user, what is on disks that can be written (their sizes stay) and the taps.
    Restore(PathBuf),
}

/// What the guest can read from the VMM's metadata service.
#[derive(Debug, Clone, PartialEq)]
pub struct Metadata {
    /// Protocol.
    pub version: MmdsVersion,
    /// The whole tree. Any process in the guest can read it, so it holds no secret that a job must not have.
    pub data: Value,
}

/// Everything a driver needs to start one machine.
#[derive(Debug, Clone)]
pub struct VmSpec {
    /// Whose machine; part of the process's command line and of its cgroup's name.
    pub id: MachineId,
    /// Kernel, initramfs, modules.
    pub boot: BootFiles,
    /// Appended to the kernel command line; at most about 1700 printable ASCII characters.
    pub cmdline_extra: String,
    /// Virtual CPUs, at least 1.
    pub vcpus: u8,
    /// Guest memory in MiB, at least 64.
    pub memory_mib: u32,
    /// Disks in order: `root`, `scratch`, those that outlive the machine, and the kernel's `modules`. The agent is told of the three by
    /// their names.
    pub drives: Vec<Drive>,
    /// Network cards in order.
    pub nics: Vec<Nic>,
    /// Existing directory for sockets and the console file. It may and should be root's, mode 0700: the VM's
    /// user gets open descriptors and needs no way in. Its path holds at most 90 bytes.
    pub run_dir: PathBuf,
    /// Unprivileged user the VMM runs as, not 0. Ignored when the server itself is not root.
    pub uid: u32,
    /// Its group, not 0. Under KVM the group of `/dev/kvm` takes its place when the device needs that.
    pub gid: u32,
    /// Most bytes the console file may hold, at least 4096; older output goes first.
    pub console_max: u64,
    /// Who is PID 1 in the guest.
    pub init: InitMode,
    /// How it comes to run.
    pub start: Start,
    /// Console, huge pages, limits of the scratch disk, CPU template; what a driver lacks of it is in its
    /// [`Capabilities`].
    pub hardware: Hardware,
    /// What the agent sets up before the machine is anybody's. A template has it, too.
    pub guest: GuestSetup,
    /// Content of the metadata service; ignored by drivers without one.
    pub metadata: Option<Metadata>,
}

/// How the server reaches the agent in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentEndpoint {
    /// Connect to this Unix socket, which the VMM holds (QEMU's virtio-serial port).
    Dial(PathBuf),
    /// Listen on this Unix socket, which the VMM connects to (Firecracker's vsock).
    Listen {
        /// Where the VMM looks for it, in a directory that is the VMM's own and not to be trusted.
        path: PathBuf,
        /// Where it is made, in the server's own directory, before it is moved there.
        staging: PathBuf,
    },
}

/// What a driver can do beyond [`Vmm`], on this host. Something absent is never attempted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// Freeze a machine into a template and start clones of it ([`Start`], [`Vm::freeze`]).
    pub snapshot: bool,
    /// Take memory back from an idle machine and give it again ([`Vm::balloon`]).
    pub balloon: bool,
    /// vsock between host and guest.
    pub vsock: bool,
    /// Add and remove devices while it runs.
    pub hotplug: bool,
    /// It makes the taps itself, each in its VMM's own network namespace. They are in the server's namespace, down and on
    /// no bridge, when [`Vmm::spawn`] returns. Else they are there before.
    pub makes_taps: bool,
    /// A metadata service inside the VMM (Firecracker's MMDS).
    pub metadata: bool,
    /// A memory limit per machine is enforced by a cgroup.
    pub memory_limit: bool,
    /// A CPU limit per machine is enforced by a cgroup.
    pub cpu_limit: bool,
    /// A limit of threads and processes per machine is enforced by a cgroup.
    pub pids_limit: bool,
}

/// A virtual machine monitor. Dropping a future of `spawn` halfway may leave a process, which `sweep` ends.
#[async_trait]
pub trait Vmm: Send + Sync {
    /// The name used in the configuration and in messages.
    fn name(&self) -> &'static str;

    /// What it can do on this host.
    fn capabilities(&self) -> Capabilities;

    /// What a template depends on beside the machine's specification: driver, VMM version, accelerator, and the host's
    /// CPU. One line; a template is of use only where it is the same.
    fn fingerprint(&self) -> String;

    /// Starts a machine and returns when its guest has begun to run. Undoes everything when it fails.
    async fn spawn(&self, spec: &VmSpec) -> Result<Vm, VmmError>;

    /// Takes over a machine that an earlier server process started, whose console file may hold `console_max`
    /// bytes from now on. `None` when that process is gone (also when its number has been given to another).
    async fn adopt(
        &self,
        id: &MachineId,
        run_dir: &Path,
        record: &ProcessRecord,
        console_max: u64,
    ) -> Result<Option<Vm>, VmmError>;

    /// Machines that have a process in this server's network namespace, or one apart that is the server's ([`Ours`](crate::Ours)), or
    /// a cgroup below the driver's parent without a process of another server's: whatever any server has left here, recorded or
    /// not. Looks at every process of the host once.
    async fn strays(&self) -> Result<Vec<MachineId>, VmmError>;

    /// Ends the machine's process if there is one, then removes its cgroup and this driver's files in `run_dir`.
    /// Does nothing, successfully, the second time.
    ///
    /// A machine is started once at most, so with a record that process alone is looked for. Without one every
    /// process of the host is looked at, for the server may have died between the start and the note of it; sweeps
    /// at the same time share one look. Another server's process is left alone.
    async fn sweep(
        &self,
        run_dir: &Path,
        id: &MachineId,
        record: Option<&ProcessRecord>,
    ) -> Result<(), VmmError>;
}
