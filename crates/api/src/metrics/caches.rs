//! The cache of actions, from the engine's numbers at each scrape.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::CacheCounts;

/// The series of the cache. Without a cache they are 0.
#[derive(Default)]
pub(super) struct Caches {
    hits: Counter,
    misses: Counter,
    saved: Counter,
    evicted: Counter,
    errors: Counter,
    received: Counter,
    sent: Counter,
    entries: Gauge<u64, AtomicU64>,
    bytes: Gauge<u64, AtomicU64>,
    uploads: Gauge<u64, AtomicU64>,
    jobs: Gauge<u64, AtomicU64>,
    storage_up: Gauge<u64, AtomicU64>,
}

impl Caches {
    pub(super) fn register(r: &mut Registry) -> Self {
        let all = Self::default();
        let name = |of: &str| format!("fireactions_actions_cache_{of}");
        r.register(name("hits"), "Searches of jobs that found an entry", all.hits.clone());
        r.register(name("misses"), "Searches of jobs that found nothing", all.misses.clone());
        r.register(name("saved"), "Entries that jobs have saved", all.saved.clone());
        r.register(
            name("evictions"),
            "Entries that were removed for room or for being unused",
            all.evicted.clone(),
        );
        r.register(name("errors"), "Requests that failed because of the host", all.errors.clone());
        r.register(name("received_bytes"), "Bytes that jobs have sent to be stored", all.received.clone());
        r.register(name("sent_bytes"), "Bytes that jobs were sent", all.sent.clone());
        r.register(name("entries"), "Entries in the cache", all.entries.clone());
        r.register(name("size_bytes"), "Bytes of all entries in the cache", all.bytes.clone());
        r.register(name("uploads"), "Uploads that are under way", all.uploads.clone());
        r.register(name("jobs"), "Jobs that may use the cache now", all.jobs.clone());
        r.register(
            name("storage_up"),
            "Whether the cache's bucket, or directory, can be used",
            all.storage_up.clone(),
        );
        all
    }

    pub(super) fn set(&self, counts: &CacheCounts) {
        let count = |counter: &Counter, value: u64| counter.inner().store(value, Ordering::Relaxed);
        count(&self.hits, counts.hits);
        count(&self.misses, counts.misses);
        count(&self.saved, counts.saved);
        count(&self.evicted, counts.evicted);
        count(&self.errors, counts.errors);
        count(&self.received, counts.received);
        count(&self.sent, counts.sent);
        self.entries.set(counts.entries);
        self.bytes.set(counts.bytes);
        self.uploads.set(counts.uploads);
        self.jobs.set(counts.jobs);
        self.storage_up.set(u64::from(counts.storage_up));
    }
}
