use std::time::Duration;

use fireactions_model::RetryPolicy;

/// How the local forge behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalConfig {
    /// How often a job is tried when its machine dies.
    pub retry: RetryPolicy,
    /// Final jobs are kept this long.
    pub keep: Duration,
    /// At most this many final jobs are kept.
    pub keep_jobs: u32,
    /// At most this many jobs wait.
    pub max_queued: u32,
    /// The longest that one input file may take to arrive.
    pub upload_deadline: Duration,
    /// What one job may ask for.
    pub limits: Limits,
}

impl Default for LocalConfig {
    fn default() -> Self {
        Self {
            retry: RetryPolicy::default(),
            keep: Duration::from_secs(7 * 24 * 3600),
            keep_jobs: 10_000,
            max_queued: 10_000,
            upload_deadline: Duration::from_secs(600),
            limits: Limits::default(),
        }
    }
}

/// What one job may ask for. Beyond it, submission is refused with the limit named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all input files together.
    pub input_bytes: u64,
    /// Number of input files.
    pub files: usize,
    /// Number of artifacts.
    pub artifacts: usize,
    /// Bytes of program and environment together. The default fits into one message to the guest, however its
    /// characters are escaped there.
    pub program_bytes: usize,
    /// Virtual CPUs.
    pub vcpus: u8,
    /// Guest memory in MiB.
    pub memory_mib: u32,
    /// Scratch disk in MiB.
    pub disk_mib: u32,
    /// Seconds.
    pub timeout_secs: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            input_bytes: 4 << 30,
            files: 4096,
            artifacts: 64,
            program_bytes: 160 << 10,
            vcpus: 128,
            memory_mib: 1 << 20,
            disk_mib: 4 << 20,
            timeout_secs: 7 * 24 * 3600,
        }
    }
}
