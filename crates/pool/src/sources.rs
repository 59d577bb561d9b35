//! Asking the forges for demand, each by itself and with patience: one that hangs or fails keeps no other from its machines.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fireactions_model::{Demand, DemandSource, ExponentialBackoff, ForgeError, PoolName, PoolSpec};
use futures::future::{BoxFuture, join_all};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::Timing;

/// Wait after the first error.
const FIRST: Duration = Duration::from_millis(500);
/// Longest wait, also when the forge asks for more.
const LONGEST: Duration = Duration::from_secs(120);

type Answer = Result<BTreeMap<PoolName, Demand>, ForgeError>;

/// All of them.
pub(crate) struct Sources {
    all: Vec<Source>,
    heard: FuturesUnordered<BoxFuture<'static, Arc<dyn DemandSource>>>,
}

impl Sources {
    pub(crate) fn new(forges: Vec<Arc<dyn DemandSource>>, timing: Timing) -> Self {
        let heard = forges.iter().cloned().map(hear).collect();
        Self { all: forges.into_iter().map(|forge| Source::new(forge, timing)).collect(), heard }
    }

    /// Other times from now on.
    pub(crate) fn set_timing(&mut self, timing: Timing) {
        for source in &mut self.all {
            source.timing = timing;
        }
    }

    /// Most machines of each pool from now on.
    pub(crate) fn set_capacity(&self, capacity: &BTreeMap<PoolName, u32>) {
        for source in &self.all {
            source.forge.set_capacity(capacity);
        }
    }

    /// Returns when demand may have changed. Cancel-safe.
    pub(crate) async fn changed(&mut self) {
        match self.heard.next().await {
            Some(forge) => self.heard.push(hear(forge)),
            None => std::future::pending().await,
        }
    }

    /// Asks every source that may be asked, and waits for the answers for a moment. One that comes later wakes the loop.
    pub(crate) async fn refresh(&mut self, pools: &[PoolSpec], late: &Arc<Notify>) {
        join_all(self.all.iter_mut().map(|source| source.refresh(pools, late))).await;
    }

    fn of(&self, pool: &PoolSpec) -> Option<&Source> {
        self.all.iter().find(|source| source.forge.serves(pool))
    }

    /// A pool's waiting jobs.
    pub(crate) fn demand(&self, pool: &PoolSpec) -> Demand {
        self.of(pool).and_then(|source| source.last.get(&pool.name)).cloned().unwrap_or_default()
    }

    /// What is wrong with a pool's source, for people.
    pub(crate) fn error(&self, pool: &PoolSpec) -> Option<&str> {
        self.of(pool)?.error.as_deref()
    }

    /// When to ask again although nothing changed.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.all.iter().filter_map(Source::next_time).min()
    }
}

fn hear(forge: Arc<dyn DemandSource>) -> BoxFuture<'static, Arc<dyn DemandSource>> {
    async move {
        forge.changed().await;
        forge
    }
    .boxed()
}

/// A question without an answer.
struct Question {
    asked: Instant,
    answer: JoinHandle<Answer>,
    /// Nobody waits for it any more: it says so when it has its answer. Only then, or each look would begin the next.
    is_late: Arc<AtomicBool>,
}

impl Question {
    fn wait_for(answer: BoxFuture<'static, Answer>, asked: Instant, late: &Arc<Notify>) -> Self {
        let is_late = Arc::new(AtomicBool::new(false));
        let (wake, told) = (Arc::clone(late), Arc::clone(&is_late));
        let answer = tokio::spawn(async move {
            let answer = answer.await;
            if told.load(Ordering::SeqCst) {
                wake.notify_one();
            }
            answer
        });
        Self { asked, answer, is_late }
    }
}

/// One source, as far as it is known.
struct Source {
    forge: Arc<dyn DemandSource>,
    timing: Timing,
    asking: Option<Question>,
    last: BTreeMap<PoolName, Demand>,
    heard: Option<Instant>,
    pauses: ExponentialBackoff,
    retry_at: Option<Instant>,
    error: Option<String>,
}

impl Source {
    fn new(forge: Arc<dyn DemandSource>, timing: Timing) -> Self {
        Self {
            forge,
            timing,
            asking: None,
            last: BTreeMap::new(),
            heard: None,
            pauses: ExponentialBackoff::new(FIRST, LONGEST),
            retry_at: None,
            error: None,
        }
    }

    async fn refresh(&mut self, pools: &[PoolSpec], late: &Arc<Notify>) {
        // A look waits once for each question.
        let mut patience = Duration::ZERO;
        let now = Instant::now();
        if self.asking.is_none() && self.retry_at.is_none_or(|at| at <= now) {
            patience = self.timing.demand_patience;
            let pools: Vec<PoolSpec> = pools.iter().filter(|pool| self.forge.serves(pool)).cloned().collect();
            let forge = Arc::clone(&self.forge);
            let mut answer = async move { forge.demand(&pools).await }.boxed();
            // One that knows, as the built-in queue does, answers at once, and costs no other thread.
            match answer.as_mut().now_or_never() {
                Some(Ok(demand)) => self.answered(demand),
                Some(Err(error)) => self.failed(&error),
                None => self.asking = Some(Question::wait_for(answer, now, late)),
            }
        }
        if let Some(Question { asked, answer, is_late }) = &mut self.asking {
            match timeout(patience, &mut *answer).await {
                Ok(Ok(Ok(demand))) => self.answered(demand),
                Ok(Ok(Err(error))) => self.failed(&error),
                Ok(Err(panic)) => {
                    let message = format!("the request ended early: {panic}");
                    self.failed(&ForgeError::Unavailable { message, retry_after: None });
                }
                Err(_) if asked.elapsed() >= self.timing.demand_deadline => {
                    answer.abort();
                    let message = format!("no answer in {} s", self.timing.demand_deadline.as_secs_f32());
                    self.failed(&ForgeError::Unavailable { message, retry_after: None });
                }
                Err(_) => {
                    is_late.store(true, Ordering::SeqCst);
                    if answer.is_finished() {
                        late.notify_one();
                    }
                }
            }
        }
        if self.heard.is_some_and(|heard| heard.elapsed() > self.timing.demand_keep) && self.error.is_some() {
            self.last.clear();
        }
    }

    fn answered(&mut self, demand: BTreeMap<PoolName, Demand>) {
        if self.pauses.failures() > 0 {
            tracing::info!(forge = self.forge.name(), "the forge answers again");
        }
        self.asking = None;
        self.last = demand;
        self.heard = Some(Instant::now());
        self.pauses.succeeded();
        self.retry_at = None;
        self.error = None;
    }

    fn failed(&mut self, error: &ForgeError) {
        self.asking = None;
        let asked = match error {
            ForgeError::Unavailable { retry_after, .. } => retry_after.unwrap_or_default(),
            ForgeError::Refused(_) | ForgeError::NotBound(_) => Duration::ZERO,
        };
        // The forge's own wish is a minimum, so jitter goes on top of it.
        let wait = self.pauses.failed(rand::random()).max(asked.min(LONGEST));
        self.retry_at = Some(Instant::now() + wait);
        let (forge, text) = (self.forge.name(), error.to_string());
        // The first error of a row is news; the rest is for those who look closely.
        if self.pauses.failures() == 1 {
            tracing::warn!(forge, error = %text, retry_in = ?wait, "cannot ask the forge for waiting jobs");
        } else {
            tracing::debug!(forge, error = %text, failures = self.pauses.failures(), retry_in = ?wait, "the forge still fails");
        }
        self.error = Some(text);
    }

    fn next_time(&self) -> Option<Instant> {
        match &self.asking {
            Some(question) => Some(question.asked + self.timing.demand_deadline),
            None => self.retry_at,
        }
    }
}
