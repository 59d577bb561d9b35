//! Asking the forge for demand, with patience.

use std::collections::BTreeMap;
use std::time::Duration;

use fireactions_model::{Demand, Forge, ForgeError, PoolName, PoolSpec};
use tokio::time::{Instant, timeout};

use crate::backoff::{delay, jitter};

/// Wait after the first error.
const FIRST: Duration = Duration::from_millis(500);
/// Longest wait, also when the forge asks for more.
const LONGEST: Duration = Duration::from_secs(120);

/// The forge's demand, as far as it is known.
pub(crate) struct ForgeDemand {
    deadline: Duration,
    /// Demand older than this is forgotten: machines for jobs that may be long gone cost more than they gain.
    keep: Duration,
    last: BTreeMap<PoolName, Demand>,
    heard: Option<Instant>,
    failures: u32,
    retry_at: Option<Instant>,
    error: Option<String>,
}

impl ForgeDemand {
    pub(crate) fn new(deadline: Duration, keep: Duration) -> Self {
        Self { deadline, keep, last: BTreeMap::new(), heard: None, failures: 0, retry_at: None, error: None }
    }

    /// Asks, unless it is too soon after an error.
    pub(crate) async fn refresh(&mut self, forge: &dyn Forge, pools: &[PoolSpec]) {
        let now = Instant::now();
        if self.retry_at.is_none_or(|at| at <= now) {
            match timeout(self.deadline, forge.demand(pools)).await {
                Ok(Ok(demand)) => {
                    if self.failures > 0 {
                        tracing::info!(forge = forge.name(), "the forge answers again");
                    }
                    self.last = demand;
                    self.heard = Some(Instant::now());
                    self.failures = 0;
                    self.retry_at = None;
                    self.error = None;
                }
                Ok(Err(error)) => self.failed(forge.name(), &error),
                Err(_) => {
                    let message = format!("no answer in {} s", self.deadline.as_secs_f32());
                    self.failed(forge.name(), &ForgeError::Unavailable { message, retry_after: None });
                }
            }
        }
        if self.heard.is_some_and(|heard| heard.elapsed() > self.keep) && self.error.is_some() {
            self.last.clear();
        }
    }

    fn failed(&mut self, forge: &str, error: &ForgeError) {
        self.failures = self.failures.saturating_add(1);
        let asked = match error {
            ForgeError::Unavailable { retry_after, .. } => retry_after.unwrap_or_default(),
            ForgeError::Refused(_) | ForgeError::NotBound(_) => Duration::ZERO,
        };
        // The forge's own wish is a minimum, so jitter goes on top of it.
        let wait = jitter(delay(FIRST, LONGEST, self.failures), rand::random()).max(asked.min(LONGEST));
        self.retry_at = Some(Instant::now() + wait);
        let text = error.to_string();
        // The first error of a row is news; the rest is for those who look closely.
        if self.failures == 1 {
            tracing::warn!(forge, error = %text, retry_in = ?wait, "cannot ask the forge for waiting jobs");
        } else {
            tracing::debug!(forge, error = %text, failures = self.failures, retry_in = ?wait, "the forge still fails");
        }
        self.error = Some(text);
    }

    /// A pool's waiting jobs.
    pub(crate) fn of(&self, pool: &PoolName) -> Demand {
        self.last.get(pool).cloned().unwrap_or_default()
    }

    /// What is wrong with the forge, for people.
    pub(crate) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// When to ask again although nothing changed.
    pub(crate) const fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }
}
