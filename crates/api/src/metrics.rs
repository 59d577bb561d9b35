//! Prometheus metrics, fed only from the event stream and the engine's views.

mod caches;
mod compat;
mod counts;
mod fleet;
mod forges;
mod gauges;
mod labels;
mod process;
mod registry_cache;
mod traces;

use std::sync::{Arc, Mutex, PoisonError};

use fireactions_model::{Event, MachineView, PoolView};
use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::{Engine, Fault, Hosts};
use caches::Caches;
use compat::{Compat, Facts};
use counts::Counts;
use fleet::Fleet;
use forges::Forges;
use gauges::Gauges;
use registry_cache::RegistryCache;
use traces::Traces;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabels {
    pool: String,
}

/// The metrics of one server.
#[derive(Clone)]
pub struct Metrics {
    parts: Arc<Mutex<Parts>>,
}

struct Parts {
    registry: Registry,
    counts: Counts,
    gauges: Gauges,
    forges: Forges,
    caches: Caches,
    registry_cache: RegistryCache,
    traces: Traces,
    compat: Option<Compat>,
    fleet: Option<Fleet>,
}

impl Metrics {
    /// Serves what there is under the names of other programs of this name, too.
    pub(crate) fn serve_compat(&self) {
        let parts = &mut *self.lock();
        let compat = Compat::register(&mut parts.registry, &parts.counts);
        parts.compat = Some(compat);
    }

    /// Serves what the hosts of a cluster tell of themselves.
    pub(crate) fn serve_fleet(&self) {
        let parts = &mut *self.lock();
        parts.fleet = Some(Fleet::register(&mut parts.registry));
    }

    /// Registers everything and listens to the engine's events until `closing`.
    pub(crate) fn start(engine: &dyn Engine, closing: CancellationToken) -> Self {
        let mut registry = Registry::default();
        let counts = Counts::register(&mut registry);
        let gauges = Gauges::register(&mut registry);
        gauges.build(&engine.version());
        let forges = Forges::register(&mut registry);
        let caches = Caches::register(&mut registry);
        let registry_cache = RegistryCache::register(&mut registry);
        let traces = Traces::register(&mut registry);
        let (compat, fleet) = (None, None);
        let parts = Parts { registry, counts, gauges, forges, caches, registry_cache, traces, compat, fleet };
        let metrics = Self { parts: Arc::new(Mutex::new(parts)) };
        let listener = metrics.clone();
        let mut events = engine.events();
        tokio::spawn(async move {
            loop {
                let event = tokio::select! {
                    event = events.recv() => event,
                    () = closing.cancelled() => return,
                };
                match event {
                    Ok(event) => listener.count(&event),
                    Err(RecvError::Lagged(missed)) => {
                        listener.lock().counts.missed(missed);
                        tracing::warn!(
                            missed,
                            "the metrics missed events; counters and histograms are too low"
                        );
                    }
                    Err(RecvError::Closed) => return,
                }
            }
        });
        metrics
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Parts> {
        // A panic while counting leaves at worst one count undone.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, event: &Event) {
        self.lock().counts.event(event);
    }

    /// The text for a scrape. `exemplars`: the scraper knows what they are.
    pub(crate) async fn render(
        &self,
        engine: &dyn Engine,
        hosts: Option<&Arc<dyn Hosts>>,
        exemplars: bool,
    ) -> Result<String, Fault> {
        let pools = engine.pools().await?;
        let machines = engine.machines().await?;
        let jobs = engine.job_counts().await?;
        let ready = engine.readiness().await.ready;
        let drained = engine.host().await?.drained.is_some();
        let forges = engine.forges();
        let caches = engine.cache_counts();
        let registry_cache = engine.registry_cache().await;
        let traces = engine.trace_counts();
        let parts = self.lock();
        parts.caches.set(&caches);
        parts.registry_cache.set(registry_cache.as_ref());
        parts.traces.set(&traces);
        parts.forges.set(&pools, &forges, Timestamp::now());
        parts.gauges.set(&pools, &machines, &jobs, ready, drained, parts.compat.is_some());
        if let (Some(fleet), Some(hosts)) = (&parts.fleet, hosts) {
            fleet.set(&pools, &hosts.counts());
        }
        if let Some(compat) = &parts.compat {
            compat.set(&facts(&pools, &machines, &parts.counts));
        }
        let mut text = String::new();
        encode(&mut text, &parts.registry)
            .map_err(|error| Fault::internal(format!("cannot write the metrics: {error}")))?;
        Ok(if exemplars { text } else { counts::without_exemplars(&text) })
    }
}

/// What is known of each pool.
fn facts<'a>(pools: &'a [PoolView], machines: &[MachineView], counts: &Counts) -> Vec<Facts<'a>> {
    let of = |view: &'a PoolView| {
        let own = || machines.iter().filter(|machine| machine.pool == view.spec.name);
        let pending = own().filter(|machine| compat::is_pending(machine.state)).count();
        Facts {
            view,
            current: own().count() as u64,
            pending: pending as u64,
            counted: counts.of_pool(view.spec.name.as_str()),
        }
    };
    pools.iter().map(of).collect()
}
