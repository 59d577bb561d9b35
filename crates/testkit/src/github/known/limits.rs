//! Who has asked how much.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// What everyone has asked for.
#[derive(Debug, Default)]
pub(in super::super) struct Limits {
    pub(in super::super) limit: Option<u64>,
    pub(in super::super) windows: BTreeMap<String, Window>,
    pub(in super::super) points: Option<(u64, Duration)>,
    /// Points of each payer's requests of the last minute.
    pub(in super::super) minutes: BTreeMap<String, VecDeque<(Instant, u64)>>,
    pub(in super::super) most: u64,
    /// Requests under way, by the credential that they came with.
    pub(in super::super) under_way: BTreeMap<String, u64>,
    /// Requests that a secondary limit refused.
    pub(in super::super) refused: u64,
}

/// What one has asked for in this hour.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Window {
    pub(in super::super) used: u64,
    /// Seconds since the epoch.
    pub(in super::super) reset: i64,
}
