//! The traces that a collector is told of, from the engine's numbers at each scrape.

use std::sync::atomic::{AtomicU64, Ordering};

use fireactions_model::TraceCounts;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DroppedLabels {
    reason: &'static str,
}

/// The series of traces. Without a collector they are 0.
#[derive(Default)]
pub(super) struct Traces {
    sent: Counter,
    dropped: Family<DroppedLabels, Counter>,
    rejected: Counter,
    failures: Counter,
    waiting: Gauge<u64, AtomicU64>,
}

impl Traces {
    pub(super) fn register(r: &mut Registry) -> Self {
        let all = Self::default();
        r.register("fireactions_traces_sent", "Traces that the collector has taken", all.sent.clone());
        r.register("fireactions_traces_dropped", "Traces that were dropped, by reason", all.dropped.clone());
        let rejected = "Spans that the collector did not want, of what it has taken";
        r.register("fireactions_traces_rejected_spans", rejected, all.rejected.clone());
        let failures = "Requests to the collector that came to nothing, also those that were repeated";
        r.register("fireactions_traces_failures", failures, all.failures.clone());
        r.register("fireactions_traces_waiting", "Traces that wait to be sent", all.waiting.clone());
        all
    }

    pub(super) fn set(&self, counts: &TraceCounts) {
        let count = |counter: &Counter, value: u64| counter.inner().store(value, Ordering::Relaxed);
        count(&self.sent, counts.sent);
        for (reason, traces) in &counts.dropped {
            count(&self.dropped.get_or_create(&DroppedLabels { reason }), *traces);
        }
        count(&self.rejected, counts.rejected_spans);
        count(&self.failures, counts.failures);
        self.waiting.set(counts.waiting);
    }
}
