//! The cache of registries, from what it says at each scrape.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::RegistryCacheView;

/// The series of the cache. Without one they are 0.
#[derive(Default)]
pub(super) struct RegistryCache {
    free: Gauge<u64, AtomicU64>,
    evicted: Counter,
    full: Gauge<u64, AtomicU64>,
    hits: Family<Of, Counter>,
    misses: Family<Of, Counter>,
    sent: Family<Of, Counter>,
    errors: Family<Of, Counter>,
    offline: Family<Of, Gauge<u64, AtomicU64>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    registry: String,
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
        r.register(name("hits"), "Answers with what was cached", all.hits.clone());
        r.register(name("misses"), "Answers with what was not cached", all.misses.clone());
        r.register(name("sent_bytes"), "Bytes that guests were sent", all.sent.clone());
        r.register(
            name("upstream_errors"),
            "Times that a registry did not answer, or with an error of its own",
            all.errors.clone(),
        );
        r.register(
            name("offline"),
            "Whether what is cached is served alone, because the registry does not answer",
            all.offline.clone(),
        );
        all
    }

    pub(super) fn set(&self, view: Option<&RegistryCacheView>) {
        let counts = view.and_then(|view| view.counts).unwrap_or_default();
        self.free.set(view.and_then(|view| view.free_bytes).unwrap_or_default());
        self.evicted.inner().store(counts.evicted_bytes, Ordering::Relaxed);
        self.full.set(counts.full.into());
        for mirror in view.iter().flat_map(|view| &view.mirrors) {
            let (of, counts) = (Of { registry: mirror.registry.clone() }, mirror.counts.unwrap_or_default());
            for (family, value) in [
                (&self.hits, counts.hits),
                (&self.misses, counts.misses),
                (&self.sent, counts.sent_bytes),
                (&self.errors, counts.upstream_errors),
            ] {
                family.get_or_create(&of).inner().store(value, Ordering::Relaxed);
            }
            self.offline.get_or_create(&of).set(counts.offline.into());
        }
    }
}
