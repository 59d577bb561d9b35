//! How many traces came how far.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fireactions_model::TraceCounts;

/// Numbers since the server's start, shared by all who count and ask.
#[derive(Debug, Clone, Default)]
pub struct Counts(Arc<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    sent: AtomicU64,
    waiting: AtomicU64,
    full: AtomicU64,
    unreachable: AtomicU64,
    refused: AtomicU64,
    stopped: AtomicU64,
    rejected_spans: AtomicU64,
    failures: AtomicU64,
}

/// Why traces were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// Too many waited.
    Full,
    /// The collector did not take them for too long.
    Unreachable,
    /// The collector does not want them.
    Refused,
    /// The server ended first.
    Stopped,
}

impl Counts {
    /// The numbers now.
    pub fn get(&self) -> TraceCounts {
        let get = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let all = &self.0;
        TraceCounts {
            sent: get(&all.sent),
            waiting: get(&all.waiting),
            dropped: vec![
                ("full", get(&all.full)),
                ("unreachable", get(&all.unreachable)),
                ("refused", get(&all.refused)),
                ("stopped", get(&all.stopped)),
            ],
            rejected_spans: get(&all.rejected_spans),
            failures: get(&all.failures),
        }
    }

    /// Nothing waits, and nothing is on its way.
    pub(crate) fn none_waits(&self) -> bool {
        self.0.waiting.load(Ordering::Relaxed) == 0
    }

    /// The server's end has dropped none.
    pub(crate) fn none_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn waits(&self) {
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// So many that waited are sent.
    pub(crate) fn sent(&self, traces: u64) {
        self.0.sent.fetch_add(traces, Ordering::Relaxed);
        self.0.waiting.fetch_sub(traces, Ordering::Relaxed);
    }

    /// So many that waited are dropped.
    pub(crate) fn dropped(&self, why: Dropped, traces: u64) {
        let number = match why {
            Dropped::Full => &self.0.full,
            Dropped::Unreachable => &self.0.unreachable,
            Dropped::Refused => &self.0.refused,
            Dropped::Stopped => &self.0.stopped,
        };
        number.fetch_add(traces, Ordering::Relaxed);
        self.0.waiting.fetch_sub(traces, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.0.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn rejected(&self, spans: u64) {
        self.0.rejected_spans.fetch_add(spans, Ordering::Relaxed);
    }
}
