//! What one host of the cluster has at a time, and which one.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fireactions_model::{ClusterHost, ExponentialBackoff, ForgeName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::bucket::{Bucket, Value};
use crate::buckets::{Buckets, LEASE_TTL};
use crate::clock::Moment;
use crate::link::{ANSWER, Link};
use crate::member::Identity;
use crate::trouble::Trouble;

/// Orders holders: a later one's is larger. What an earlier one writes is known by it. It is the moment at which the bucket was made, and
/// the revision with which the lease was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fence(u64, u64);

/// What there is one lease of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseName(String);

impl LeaseName {
    /// Who listens to a forge.
    pub fn forge(name: &ForgeName) -> Self {
        Self(format!("forge.{name}"))
    }
}

impl fmt::Display for LeaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Who has a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The host.
    pub host: ClusterHost,
    /// The run of its server.
    pub run: String,
    /// Since when.
    pub since: Timestamp,
}

/// How leases are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTiming {
    /// Between two renewals, and between two tries to take it.
    pub every: Duration,
    /// So long before it could be another's, a holder that could not renew it lets go.
    pub margin: Duration,
}

impl Default for LeaseTiming {
    fn default() -> Self {
        Self { every: Duration::from_millis(700), margin: Duration::from_millis(500) }
    }
}

/// A lease that this host has, or would have. Clones share it.
#[derive(Clone)]
pub struct Lease {
    inner: Arc<Inner>,
}

struct Inner {
    link: Link,
    name: LeaseName,
    identity: Identity,
    timing: LeaseTiming,
    state: Mutex<State>,
    changed: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    holder: Option<Holder>,
}

#[derive(Clone, Copy)]
struct Held {
    fence: Fence,
    until: Moment,
}

impl Lease {
    /// A lease that nobody asks for before [`run`](Self::run).
    pub fn new(link: &Link, name: LeaseName, identity: Identity, timing: LeaseTiming) -> Self {
        let (link, state, changed) = (link.clone(), Mutex::default(), watch::Sender::new(false));
        Self { inner: Arc::new(Inner { link, name, identity, timing, state, changed }) }
    }

    /// The fence, while this host has the lease. To be asked before each act.
    pub fn fence(&self) -> Option<Fence> {
        let held = self.state().held?;
        (Moment::now() < held.until).then_some(held.fence)
    }

    /// Who has it, as far as this host has heard.
    pub fn holder(&self) -> Option<Holder> {
        self.state().holder.clone()
    }

    /// Changes when this host gets it or loses it. What counts is [`fence`](Self::fence).
    pub fn changes(&self) -> watch::Receiver<bool> {
        self.inner.changed.subscribe()
    }

    /// Takes it as soon as nobody has it, and keeps it, until `stop`; then it is free.
    pub async fn run(self, stop: CancellationToken) {
        let mut pauses = ExponentialBackoff::new(self.inner.timing.every, LEASE_TTL);
        let mut last = None;
        while !stop.is_cancelled() {
            let mut written = None;
            let ended = stop.run_until_cancelled(Box::pin(self.compete(&mut written, &mut pauses))).await;
            self.let_go();
            let Some(trouble) = ended else {
                if let Some(bucket) = written {
                    let is_own = |holder: &Holder| holder.run == self.inner.identity.run;
                    let _ = timeout(ANSWER, bucket.remove(&self.inner.name.0, is_own)).await;
                }
                return;
            };
            if last.as_ref() != Some(&trouble) {
                tracing::warn!(lease = %self.inner.name, "a lease of the cluster cannot be had: {trouble}");
            }
            last = Some(trouble);
            let _ = stop.run_until_cancelled(sleep(pauses.failed(rand::random()))).await;
        }
    }

    /// Tries to take it, and keeps it once it has it. Returns what is wrong with NATS.
    async fn compete(&self, written: &mut Option<Bucket>, pauses: &mut ExponentialBackoff) -> Trouble {
        let bucket = match Buckets::open_or_make(&self.inner.link).await {
            Ok(buckets) => buckets.leases,
            Err(trouble) => return trouble,
        };
        *written = Some(bucket.clone());
        loop {
            let asked = Moment::now();
            match self.take(&bucket).await {
                Ok(Some(revision)) => {
                    pauses.succeeded();
                    let fence = Fence(bucket.made(), revision);
                    self.hold(fence, asked);
                    let trouble = self.keep(&bucket, fence).await;
                    self.let_go();
                    if let Some(trouble) = trouble {
                        return trouble;
                    }
                }
                Ok(None) => pauses.succeeded(),
                Err(trouble) => return trouble,
            }
            sleep(ExponentialBackoff::jitter(self.inner.timing.every, rand::random())).await;
        }
    }

    async fn take(&self, bucket: &Bucket) -> Result<Option<u64>, Trouble> {
        let key = &self.inner.name.0;
        let own = self.own(Timestamp::now());
        if let Some(revision) = bucket.create(key, &own).await? {
            return Ok(Some(revision));
        }
        let Some(Value { value, revision }) = bucket.get::<Holder>(key).await? else { return Ok(None) };
        if value.run == own.run {
            // A renewal whose answer was lost came through after this host had let go.
            return bucket.update(key, &own, revision).await;
        }
        self.state().holder = Some(value);
        Ok(None)
    }

    /// Renews it until it is lost: by its clock, or by NATS's word. Gives what is wrong with NATS, if that is why.
    async fn keep(&self, bucket: &Bucket, fence: Fence) -> Option<Trouble> {
        let since = self.state().holder.as_ref().map_or_else(Timestamp::now, |holder| holder.since);
        let own = self.own(since);
        let mut revision = fence.1;
        loop {
            sleep(ExponentialBackoff::jitter(self.inner.timing.every, rand::random())).await;
            let left = self.left()?;
            let asked = Moment::now();
            match timeout(left, bucket.update(&self.inner.name.0, &own, revision)).await {
                Ok(Ok(Some(next))) => {
                    revision = next;
                    self.hold(fence, asked);
                }
                // Somebody has it, or it went.
                Ok(Ok(None)) => return None,
                Ok(Err(trouble @ Trouble::NoBucket(_))) => return Some(trouble),
                // There may be time for another try.
                Ok(Err(trouble)) => match self.left() {
                    Some(_) => {}
                    None => return Some(trouble),
                },
                Err(_) => {
                    return Some(Trouble::Late { doing: "a lease was renewed".to_owned(), deadline: left });
                }
            }
        }
    }

    /// How long it is this host's yet, if nothing more is heard.
    fn left(&self) -> Option<Duration> {
        let held = self.state().held?;
        Some(held.until.since(Moment::now())).filter(|left| !left.is_zero())
    }

    fn own(&self, since: Timestamp) -> Holder {
        let Identity { host, run, .. } = &self.inner.identity;
        Holder { host: host.clone(), run: run.clone(), since }
    }

    /// It is this host's, counted from when it was asked for.
    fn hold(&self, fence: Fence, asked: Moment) {
        let until = asked.plus(LEASE_TTL.saturating_sub(self.inner.timing.margin));
        let mut state = self.state();
        let is_new = state.held.is_none_or(|held| held.fence != fence);
        if is_new {
            state.holder = Some(self.own(Timestamp::now()));
        }
        state.held = Some(Held { fence, until });
        drop(state);
        if is_new {
            tracing::info!(lease = %self.inner.name, "this host has the lease now");
            self.inner.changed.send_replace(true);
        }
    }

    fn let_go(&self) {
        if self.state().held.take().is_some() {
            tracing::info!(lease = %self.inner.name, "this host has the lease no more");
            self.inner.changed.send_replace(false);
        }
    }

    /// Plain data, whole at every moment.
    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
