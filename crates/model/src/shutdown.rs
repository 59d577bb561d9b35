//! How a server goes.

use serde::{Deserialize, Serialize};

/// What becomes of machines with a job when the server is asked to stop. Idle machines go in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShutdownMode {
    /// They continue, and the next server takes them over.
    #[default]
    Leave,
    /// The server waits for them, up to its deadline, and then kills them.
    Wait,
    /// They are killed at once; their jobs are told lost.
    Kill,
}
