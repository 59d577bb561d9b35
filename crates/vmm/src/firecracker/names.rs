//! What the server, Firecracker and the guest all have to call by the same name: the files in the jail (see `jail` for what
//! they are), and the agent's port.

pub(crate) const API_SOCKET: &str = "api.sock";
pub(crate) const VSOCK: &str = "v.sock";
pub(crate) const LOG: &str = "log";
pub(crate) const METRICS: &str = "metrics";
pub(crate) const KERNEL: &str = "kernel";
pub(crate) const INITRD: &str = "initrd";
pub(crate) const MEMORY: &str = "memory";
pub(crate) const STATE: &str = "state";

/// The host's port that the agent dials.
pub(crate) const AGENT_PORT: u32 = 1024;

/// File name of a drive's image.
pub(crate) fn image(drive: &str) -> String {
    format!("{drive}.img")
}
