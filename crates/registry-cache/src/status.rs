//! What the running cache says of itself, in a file beside the images: for the server, which shows it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Counted since the cache's start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Bytes that were removed for room.
    pub evicted_bytes: u64,
    /// Less is free than is to stay free, and there is nothing left to remove.
    pub full: bool,
    /// Each registry by its name.
    pub registries: BTreeMap<String, RegistryStatus>,
    /// Each image that is to be pulled ahead and was tried, and why it is not there.
    pub warm: BTreeMap<String, Option<String>>,
}

/// What the cache says of one registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegistryStatus {
    /// The registry does not answer: what is cached is served, and nothing else.
    pub offline: bool,
    /// Answers with what was there.
    pub hits: u64,
    /// Answers with what the registry was asked for.
    pub misses: u64,
    /// Bytes that were served.
    pub sent_bytes: u64,
    /// Times that the registry did not answer, or with an error of its own.
    pub upstream_errors: u64,
}
