//! The built-in job queue, and how the server stops.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Duration;

/// The built-in job queue.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LocalConfig {
    /// Maximum number of attempts of a job whose machine dies; 2 means one retry. A job that ends by itself, whatever
    /// its exit code, is never run again.
    #[schemars(range(min = 1, max = 100))]
    pub attempts: u32,
    /// How long results, logs and artifacts of finished jobs are kept.
    pub keep: Duration,
    /// Maximum number of finished jobs to keep; the oldest are removed first.
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
    /// What happens to running jobs at SIGTERM; idle machines are removed in any case. `leave`: jobs continue without a
    /// server, and the next server takes them over, with their output and their result. `wait`: the server waits for
    /// them, for at most `deadline`; a second signal ends the waiting and leaves them running. `kill`: they are killed
    /// at once.
    pub mode: ShutdownMode,
    /// How long running jobs may continue in mode `wait`. After that, busy machines are killed; their jobs are tried
    /// again after the next start, if `local.attempts` allows it.
    pub deadline: Duration,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self { mode: ShutdownMode::default(), deadline: Duration::secs(300) }
    }
}

/// What happens to running jobs when the server stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ShutdownMode {
    /// They continue, and the next server takes them over.
    #[default]
    Leave,
    /// The server waits for them, up to the deadline.
    Wait,
    /// They are killed, and tried again after the next start if `local.attempts` allows it.
    Kill,
}

impl From<ShutdownMode> for fireactions_model::ShutdownMode {
    fn from(mode: ShutdownMode) -> Self {
        match mode {
            ShutdownMode::Leave => Self::Leave,
            ShutdownMode::Wait => Self::Wait,
            ShutdownMode::Kill => Self::Kill,
        }
    }
}
