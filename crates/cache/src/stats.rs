//! What the cache has done and has, as numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the start, and what is there now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Searches that found something.
    pub hits: u64,
    /// Searches that found nothing.
    pub misses: u64,
    /// Entries that were saved.
    pub saved: u64,
    /// Entries that went to make room, or because nobody used them.
    pub evicted: u64,
    /// Requests that failed for a reason on the host.
    pub errors: u64,
    /// Bytes that jobs have sent.
    pub received: u64,
    /// Bytes that jobs were sent.
    pub sent: u64,
    /// Entries there are.
    pub entries: u64,
    /// Bytes of all entries.
    pub bytes: u64,
    /// Open uploads.
    pub uploads: u64,
    /// Jobs that have a token.
    pub jobs: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) hits: Count,
    pub(crate) misses: Count,
    pub(crate) saved: Count,
    pub(crate) evicted: Count,
    pub(crate) errors: Count,
    pub(crate) received: Count,
    pub(crate) sent: Count,
}

#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
