//! How much there may be of everything.

use std::time::Duration;

const GIB: u64 = 1 << 30;

/// Longest key, in characters, as at GitHub.
pub const KEY: usize = 512;
/// Most keys of one request, the primary one and those to restore from, as clients have it.
pub const KEYS: usize = 11;
/// Longest version, in bytes. The clients' are hashes.
pub(crate) const VERSION: usize = 256;
/// Most entries of one repository: each has a file and a place in memory.
pub(crate) const ENTRIES: usize = 10_000;
/// Most blocks of one upload, as Azure has it, and most ranges with gaps between them.
pub(crate) const BLOCKS: usize = 50_000;

/// What an operator decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest entry, in bytes.
    pub entry: u64,
    /// All entries of a repository, in bytes. Those used least lately go first.
    pub repository: u64,
    /// All entries and uploads, in bytes.
    pub total: u64,
    /// What stays free of the file system, in bytes.
    pub free: u64,
    /// An entry that nobody used for this long goes.
    pub idle: Duration,
    /// An upload that got nothing for this long ends.
    pub upload_idle: Duration,
    /// Open uploads of one job.
    pub uploads: usize,
    /// Requests of one job at a time.
    pub requests: usize,
    /// How long a signed address is good for.
    pub address: Duration,
    /// How long the first requests of a job wait for the word on whose it is.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entry: 10 * GIB,
            repository: 10 * GIB,
            total: 50 * GIB,
            free: 5 * GIB,
            idle: Duration::from_secs(7 * 24 * 3600),
            upload_idle: Duration::from_secs(600),
            uploads: 16,
            requests: 64,
            address: Duration::from_secs(6 * 3600),
            patience: Duration::from_secs(10),
        }
    }
}
