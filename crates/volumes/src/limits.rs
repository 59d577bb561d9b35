//! How much there may be of everything.

use std::time::Duration;

const GIB: u64 = 1 << 30;

/// Largest `volume.json`, in bytes. It is the server's own; a larger one is none.
pub(crate) const CARD: u64 = 64 << 10;

/// What an operator decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// All volumes, in bytes that they take on the disk. Those used least lately go first.
    pub total: u64,
    /// What stays free of the file system, in bytes.
    pub free: u64,
    /// A volume that no machine was given for this long goes.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { total: 50 * GIB, free: 5 * GIB, idle: Duration::from_secs(7 * 24 * 3600) }
    }
}
