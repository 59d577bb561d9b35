use std::time::Duration;

use fireactions_model::{RetryPolicy, SpecLimits};

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
    /// What one job may ask for. Beyond it, submission is refused with the limit named.
    pub limits: SpecLimits,
}

impl Default for LocalConfig {
    fn default() -> Self {
        Self {
            retry: RetryPolicy::default(),
            keep: Duration::from_secs(7 * 24 * 3600),
            keep_jobs: 10_000,
            max_queued: 10_000,
            upload_deadline: Duration::from_secs(600),
            limits: LIMITS,
        }
    }
}

/// What one job may ask for, unless it is set otherwise. Program and environment fit into one message to the guest, however
/// their characters are escaped there.
const LIMITS: SpecLimits = SpecLimits {
    input_bytes: 4 << 30,
    files: 4096,
    artifacts: 64,
    program_bytes: 160 << 10,
    vcpus: 128,
    memory_mib: 1 << 20,
    disk_mib: 4 << 20,
    timeout_secs: 7 * 24 * 3600,
};
