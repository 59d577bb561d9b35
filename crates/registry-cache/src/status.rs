//! What the running cache says of itself, in a file beside the images: for the server, which shows it.

use serde::{Deserialize, Serialize};

/// Counted since the cache's start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Bytes that were removed for room.
    pub evicted_bytes: u64,
    /// Less is free than is to stay free, and there is nothing left to remove.
    pub full: bool,
}
