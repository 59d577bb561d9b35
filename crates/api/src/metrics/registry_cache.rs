//! The cache of registries, from what it says at each scrape.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::RegistryCacheView;

/// The series of the cache. Without one they are 0.
#[derive(Default)]
pub(super) struct RegistryCache {
    free: Gauge<u64, AtomicU64>,
    evicted: Counter,
    full: Gauge<u64, AtomicU64>,
}

impl RegistryCache {
    pub(super) fn register(r: &mut Registry) -> Self {
        let all = Self::default();
        let name = |of: &str| format!("fireactions_registry_cache_{of}");
        r.register(name("free_bytes"), "Bytes that are free where cached images are", all.free.clone());
        r.register(
            name("evicted_bytes"),
            "Bytes of cached images that were removed for room",
            all.evicted.clone(),
        );
        r.register(
            name("full"),
            "Whether less is free than is to stay free, with nothing left to remove",
            all.full.clone(),
        );
        all
    }

    pub(super) fn set(&self, view: Option<&RegistryCacheView>) {
        let counts = view.and_then(|view| view.counts).unwrap_or_default();
        self.free.set(view.and_then(|view| view.free_bytes).unwrap_or_default());
        self.evicted.inner().store(counts.evicted_bytes, Ordering::Relaxed);
        self.full.set(counts.full.into());
    }
}
