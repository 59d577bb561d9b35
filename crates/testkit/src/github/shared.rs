//! The fake's state for whoever is at it: requests, deliveries, tests.

use std::pin::pin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::state::State;

/// How often time alone may change something.
pub(super) const TICK: Duration = Duration::from_millis(20);

/// The state, its lock, and who waits for it to change.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    told: Condvar,
    changed: Notify,
    stopped: watch::Sender<u64>,
}

impl Default for Shared {
    fn default() -> Self {
        let (stopped, _) = watch::channel(0);
        Self { state: Mutex::default(), told: Condvar::new(), changed: Notify::new(), stopped }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the state or changes it. Before and after, what time and the change itself lead to is done: jobs are
    /// given to runners, tokens run out.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let before = state.version;
        state.settle();
        let found = look(&mut state);
        state.settle();
        let changed = state.version != before;
        drop(state);
        if changed {
            self.told.notify_all();
            self.changed.notify_waiters();
        }
        found
    }

    /// Looks again after every change until there is something, for so long.
    pub(super) async fn poll<T>(
        &self,
        within: Duration,
        mut look: impl FnMut(&mut State) -> Option<T>,
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

    /// Until [`FakeGithub::down`](super::FakeGithub::down) holds, be it already.
    pub(super) async fn down(&self) {
        let is_down = |state: &mut State| state.faults.is_down().then_some(());
        while self.poll(Duration::from_secs(3600), is_down).await.is_none() {}
    }

    /// Blocks until something changes, or for so long.
    pub(super) fn sleep_until_changed(&self, within: Duration) {
        let state = self.lock();
        let _ = self.told.wait_timeout(state, within.min(TICK)).unwrap_or_else(PoisonError::into_inner);
    }

    /// Hears of every [`Self::stop`].
    pub(super) fn stopped(&self) -> watch::Receiver<u64> {
        self.stopped.subscribe()
    }

    pub(super) fn stop(&self) {
        self.stopped.send_modify(|times| *times += 1);
    }
}
