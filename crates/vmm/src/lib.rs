//! Virtual machine monitors: start one microVM as one unprivileged process, see it end, take it over after a
//! restart of the server, and leave nothing behind.
//!
//! [`Vmm`] is what every driver can do; what only some can is in [`Capabilities`] and absent elsewhere.
//! [`firecracker`] is the driver for production, [`qemu`] the one for `qemu-system-x86_64 -M microvm`, which runs anywhere. [`boot`] makes what a guest boots from,
//! [`accel`] decides between KVM and TCG.

pub mod accel;
mod apart;
pub mod boot;
mod cgroup;
mod child;
mod console;
mod cpu;
mod elf;
mod error;
mod fifo;
pub mod firecracker;
mod in_place;
mod link_or_copy;
mod log;
mod orphans;
mod process;
pub mod qemu;
mod remains;
mod scan;
mod spec;
mod tap;
mod tsc;
mod vm;
mod vmm;

pub use apart::Ours;
pub use error::VmmError;
pub use process::ProcessRecord;
pub use vm::{ExitCause, ExitReason, Usage, Vm};
pub use vmm::{AgentEndpoint, Capabilities, Drive, Metadata, Nic, Start, VmSpec, Vmm};
