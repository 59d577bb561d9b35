//! The fake's state for whoever is at it: requests, deliveries, tests.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::faults::Faults;
use super::message::{Ask, Cut, Reply};

/// How often time alone may change something.
pub(crate) const TICK: Duration = Duration::from_millis(20);

/// What is served: the state of a fake, and what it does with a request.
pub(crate) trait Site: fmt::Debug + Sized + Send + 'static {
    /// Goes up with every change that somebody may wait for.
    fn version(&self) -> u64;

    /// Does what time and the last change lead to.
    fn settle(&mut self) {}

    /// The faults that are still to happen.
    fn faults(&mut self) -> &mut Faults;

    /// Answers a request.
    fn answer(shared: Arc<Shared<Self>>, ask: Ask) -> impl Future<Output = Result<Reply, Cut>> + Send;

    /// What it does by itself while it is served, for ever: deliveries.
    fn work(shared: Arc<Shared<Self>>) -> impl Future<Output = ()> + Send;
}

/// The state, its lock, and who waits for it to change.
#[derive(Debug)]
pub(crate) struct Shared<S> {
    state: Mutex<S>,
    told: Condvar,
    changed: Notify,
    stopped: watch::Sender<u64>,
}

impl<S: Site> Shared<S> {
    pub(crate) fn new(state: S) -> Self {
        let (stopped, _) = watch::channel(0);
        Self { state: Mutex::new(state), told: Condvar::new(), changed: Notify::new(), stopped }
    }

    fn lock(&self) -> MutexGuard<'_, S> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the state or changes it. Before and after, what time and the change itself lead to is done.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut S) -> T) -> T {
        let mut state = self.lock();
        let before = state.version();
        state.settle();
        let found = look(&mut state);
        state.settle();
        let changed = state.version() != before;
        drop(state);
        if changed {
            self.told.notify_all();
            self.changed.notify_waiters();
        }
        found
    }

    /// Looks again after every change until there is something, for so long.
    pub(crate) async fn poll<T>(
        &self,
        within: Duration,
        mut look: impl FnMut(&mut S) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + within;
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(found) = self.with(&mut look) {
                return Some(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let _ = tokio::time::timeout(left.min(TICK * 10), changed).await;
        }
    }

    /// Until [`Faults::down`] holds, be it already, or has held since this call, however shortly.
    pub(crate) fn down(&self) -> impl Future<Output = ()> {
        let before = self.with(|state| state.faults().downs());
        let was_down = move |state: &mut S| {
            let faults = state.faults();
            (faults.is_down() || faults.downs() != before).then_some(())
        };
        async move { while self.poll(Duration::from_secs(3600), was_down).await.is_none() {} }
    }

    /// Blocks until something changes, or for so long.
    pub(crate) fn sleep_until_changed(&self, within: Duration) {
        let state = self.lock();
        let _ = self.told.wait_timeout(state, within.min(TICK)).unwrap_or_else(PoisonError::into_inner);
    }

    /// Hears of every [`Self::stop`].
    pub(crate) fn stopped(&self) -> watch::Receiver<u64> {
        self.stopped.subscribe()
    }

    pub(crate) fn stop(&self) {
        self.stopped.send_modify(|times| *times += 1);
    }
}

/// Waits until `done` gives something, looking again whenever anything changes.
///
/// # Panics
///
/// When it has not after `within`.
pub(crate) fn wait_for<S: Site, T>(
    shared: &Shared<S>,
    what: &str,
    within: Duration,
    mut done: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = done() {
            return found;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "{what}: not within {within:?}");
        shared.sleep_until_changed(left);
    }
}
