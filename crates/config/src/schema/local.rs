//! The built-in job queue, and how the server stops.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// What becomes of running jobs at SIGTERM; idle machines go in any case. `leave`: they run on without a server,
    /// and the next one takes them over with their output and their end. `wait`: they may end, for at most
    /// `deadline`; a second signal ends the waiting as `leave` would. `kill`: they end at once.
    pub mode: ShutdownMode,
    /// How long running jobs may go on in mode `wait`. Machines that are still busy then are killed; their jobs are
    /// tried again after the next start, as far as `local.attempts` allows.
    pub deadline: Duration,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self { mode: ShutdownMode::default(), deadline: Duration::secs(300) }
    }
}

/// What becomes of running jobs when the server stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ShutdownMode {
    /// They run on, and the next server takes them over.
    #[default]
    Leave,
    /// The server waits for them, up to the deadline.
    Wait,
    /// They are killed, and tried again after the next start as far as `local.attempts` allows.
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
