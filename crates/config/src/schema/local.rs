//! The built-in job queue, and how the server stops.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Duration;

/// The built-in job queue.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LocalConfig {
    /// How often a job is started in all when its machine dies under it; 2 is one retry. A job that ends by
    /// itself, however badly, is never run again.
    #[schemars(range(min = 1, max = 100))]
    pub attempts: u32,
    /// How long results, logs and artifacts of finished jobs are kept.
    pub keep: Duration,
    /// Most finished jobs that are kept; the oldest go first.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub keep_jobs: u32,
}

impl Default for LocalConfig {
    fn default() -> Self {
        Self { attempts: 2, keep: Duration::secs(7 * 24 * 3600), keep_jobs: 10_000 }
    }
}

impl LocalConfig {
    /// The retry policy as the forge wants it.
    pub const fn retry(&self) -> fireactions_model::RetryPolicy {
        fireactions_model::RetryPolicy { attempts: self.attempts }
    }
}

/// How the server stops.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ShutdownConfig {
    /// How long running jobs may go on after SIGTERM. Machines that are still busy then are killed; their jobs are
    /// tried again after the next start, as far as `local.attempts` allows.
    pub deadline: Duration,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self { deadline: Duration::secs(300) }
    }
}
