//! What goes over the network to the forges, and how long their jobs have waited; from the engine's views at each scrape.

use std::sync::atomic::{AtomicU64, Ordering};

use fireactions_model::{ForgeName, ForgeView, PoolView, RateLimit, RemoteView};
use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::PoolLabels;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ForgeLabels {
    forge: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeliveryLabels {
    forge: String,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    forge: String,
    credential: String,
    resource: String,
}

type Level<L> = Family<L, Gauge<f64, AtomicU64>>;

/// The series of all forges.
#[derive(Default)]
pub(super) struct Forges {
    queue_age: Level<PoolLabels>,
    requests: Family<ForgeLabels, Counter>,
    registered: Family<ForgeLabels, Counter>,
    deliveries: Family<DeliveryLabels, Counter>,
    limit: Level<LimitLabels>,
    remaining: Level<LimitLabels>,
    reset: Level<LimitLabels>,
    blocked: Level<LimitLabels>,
}

impl Forges {
    pub(super) fn register(r: &mut Registry) -> Self {
        let all = Self::default();
        let age = "How long the first of the jobs that wait for the pool has waited; 0 while none does";
        r.register("fireactions_pool_queue_age_seconds", age, all.queue_age.clone());
        r.register("fireactions_forge_requests", "Requests sent to the forge", all.requests.clone());
        let registered = "Runners registered at the forge";
        r.register("fireactions_forge_runners_registered", registered, all.registered.clone());
        let deliveries = "Webhook deliveries, by result";
        r.register("fireactions_forge_webhook_deliveries", deliveries, all.deliveries.clone());
        let limit = "Requests that the forge allows in a limit's window";
        r.register("fireactions_forge_rate_limit", limit, all.limit.clone());
        let remaining = "Requests that remain of the limit";
        r.register("fireactions_forge_rate_limit_remaining", remaining, all.remaining.clone());
        let reset = "When the limit's window ends, in seconds since 1970";
        r.register("fireactions_forge_rate_limit_reset_timestamp_seconds", reset, all.reset.clone());
        let blocked = "How long no requests are sent, as the forge demands";
        r.register("fireactions_forge_rate_limit_blocked_seconds", blocked, all.blocked.clone());
        all
    }

    pub(super) fn set(&self, pools: &[PoolView], forges: &[ForgeView], now: Timestamp) {
        for pool in pools {
            let oldest = forges.iter().filter_map(|forge| forge.oldest.get(pool.name())).min();
            let labels = PoolLabels { pool: pool.name().to_string() };
            let age = oldest.map_or(0.0, |since| until(*since, now));
            self.queue_age.get_or_create(&labels).set(age);
        }
        // A credential that is not used any more has no limit to tell.
        for family in [&self.limit, &self.remaining, &self.reset, &self.blocked] {
            family.clear();
        }
        for forge in forges {
            if let Some(remote) = &forge.remote {
                self.remote(&forge.name, remote, now);
            }
        }
    }

    fn remote(&self, forge: &ForgeName, remote: &RemoteView, now: Timestamp) {
        let labels = ForgeLabels { forge: forge.to_string() };
        let count = |counter: &Counter, value: u64| counter.inner().store(value, Ordering::Relaxed);
        count(&self.requests.get_or_create(&labels), remote.requests);
        count(&self.registered.get_or_create(&labels), remote.registered);
        for (result, deliveries) in &remote.deliveries {
            let labels = DeliveryLabels { forge: forge.to_string(), result };
            count(&self.deliveries.get_or_create(&labels), *deliveries);
        }
        for limit in &remote.limits {
            self.one_limit(forge, limit, now);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "no forge allows 2^53 requests")]
    fn one_limit(&self, forge: &ForgeName, limit: &RateLimit, now: Timestamp) {
        let labels = LimitLabels {
            forge: forge.to_string(),
            credential: limit.credential.clone(),
            resource: limit.resource.clone(),
        };
        let set = |family: &Level<LimitLabels>, value: f64| {
            family.get_or_create(&labels).set(value);
        };
        set(&self.limit, limit.limit as f64);
        set(&self.remaining, limit.remaining as f64);
        if let Some(reset) = limit.reset_at {
            set(&self.reset, reset.as_millisecond() as f64 / 1e3);
        }
        set(&self.blocked, limit.blocked_until.map_or(0.0, |end| until(now, end)));
    }
}

/// Seconds from one time to a later one; 0 when it is not later.
fn until(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}
