//! Templates: who may be cloned, which templates are wanted, and the one task that makes them.
//!
//! ```text
//!  create ─▶ template there? ─ yes ─▶ clone ─ its agent speaks ─▶ identity, as after a boot
//!                 │                     └──── fails ─▶ this machine boots; well three times ─▶ template thrown away
//!                 no: boot, and ─▶ wanted ─▶ room on the host? ─▶ build: boot, freeze, publish
//! ```
//!
//! A machine never waits for a template. Templates are made one at a time, once per key, only in what the pools leave
//! of the host's budget, and give way when the pools need it. The machine that is frozen has no row: whatever becomes
//! of the server, the next one removes it as a stray, and a half template with it.

mod backoff;
mod build;
mod key;
mod order;
mod outdated;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fireactions_model::{Digest, Shape, Spare};
use fireactions_net::Network;
use fireactions_vmm::Capabilities;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::parts::Parts;
use backoff::FailedTemplates;
use build::BuildResult;
pub(crate) use order::Order;

/// Templates that are wanted and not begun. A machine that boots for want of one asks again.
const QUEUE: usize = 16;
/// Clones that fail on a host that is well until their template is thrown away.
const DOUBTS: u32 = 3;
/// Guests without a timer one after the other until their template has failed.
const GUESTS: u32 = 3;
/// A template that is being made gets this long to be undone when the server goes.
const CLOSE_DEADLINE: Duration = Duration::from_secs(20);

/// How many slots machines have: the last of the network's is the template's that is being made.
pub(crate) fn slots(network: &Network, capabilities: Capabilities) -> u32 {
    let capacity = network.capacity();
    if capabilities.snapshot && capacity > 1 { capacity - 1 } else { capacity }
}

/// What the making of templates depends on besides what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Signals {
    /// What the host has left for templates; unknown before the pools' first look.
    spare: Option<Spare>,
    closed: bool,
}

impl Signals {
    fn room(&self, shape: &Shape) -> bool {
        self.spare.is_none_or(|spare| spare.holds(shape))
    }
}

/// The templates of one server. Clones share it.
#[derive(Clone)]
pub(crate) struct Templates(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    signals: watch::Sender<Signals>,
    /// A task makes templates.
    works: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    wanted: Vec<Order>,
    making: Option<Digest>,
    failures: FailedTemplates,
    /// Of templates that there are: clones that failed since the last one that lived. As many as templates.
    doubts: HashMap<Digest, u32>,
}

impl Templates {
    pub(crate) fn new() -> Self {
        let (signals, _) = watch::channel(Signals { spare: None, closed: false });
        let (works, _) = watch::channel(false);
        Self(Arc::new(Shared { state: Mutex::default(), signals, works }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whole between any two statements: a panic elsewhere is no reason to stop.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears what the pools leave of the host.
    pub(crate) fn spare(&self, spare: Spare) {
        self.0.signals.send_if_modified(|signals| signals.spare.replace(spare) != Some(spare));
    }

    /// Begins to make a template, now or when there is room. Does nothing when that is under way or has failed lately.
    pub(crate) fn want(&self, parts: &Parts, order: Order) {
        let mut state = self.state();
        if self.0.signals.borrow().closed
            || state.making.as_ref() == Some(&order.key)
            || state.wanted.iter().any(|wanted| wanted.key == order.key)
            || state.wanted.len() >= QUEUE
            || !state.failures.over(&order.key, Instant::now())
        {
            return;
        }
        state.wanted.push(order);
        // Under the lock, under which the task decides to end.
        if !self.0.works.send_replace(true) {
            let (templates, parts) = (self.clone(), parts.clone());
            tokio::spawn(async move { templates.work(&parts).await });
        }
    }

    /// A clone of this template runs.
    pub(crate) fn succeeded(&self, key: &Digest) {
        let mut state = self.state();
        state.failures.forget(key);
        state.doubts.remove(key);
    }

    /// A clone of this template failed on a host that was well. True when that has been so [`DOUBTS`] times without a clone
    /// that lived between.
    pub(crate) fn doubt(&self, key: &Digest) -> bool {
        let mut state = self.state();
        let doubts = state.doubts.entry(key.clone()).or_default();
        *doubts += 1;
        let enough = *doubts >= DOUBTS;
        if enough {
            state.doubts.remove(key);
        }
        enough
    }

    /// The template, or the making of it, failed: it is not made again for a while. True the first time in a row.
    pub(crate) fn failed(&self, key: &Digest) -> bool {
        self.state().failures.add(key, Instant::now(), rand::random())
    }

    /// Makes no more templates; what is being made is undone. Returns when that is done, or after a while, when the next
    /// start has to.
    pub(crate) async fn close(&self) {
        self.0.signals.send_modify(|signals| signals.closed = true);
        let mut works = self.0.works.subscribe();
        if timeout(CLOSE_DEADLINE, works.wait_for(|works| !works)).await.is_err() {
            tracing::warn!("a template that was being made could not be undone within {CLOSE_DEADLINE:?}");
        }
    }

    async fn work(&self, parts: &Parts) {
        while let Some(order) = self.next().await {
            let mut signals = self.0.signals.subscribe();
            let crowded = async {
                let shape = &order.shape;
                let changed = signals.wait_for(|signals| signals.closed || !signals.room(shape)).await;
                changed.is_ok_and(|signals| signals.closed)
            };
            let outcome = build::build(parts, &order, crowded).await;
            self.over(parts, order, outcome).await;
        }
    }

    /// The first wanted template that there is room for; waits for room. Nothing when none is wanted any more.
    async fn next(&self) -> Option<Order> {
        let mut signals = self.0.signals.subscribe();
        loop {
            {
                let now = *signals.borrow_and_update();
                let mut state = self.state();
                if now.closed || state.wanted.is_empty() {
                    state.wanted.clear();
                    self.0.works.send_replace(false);
                    return None;
                }
                if let Some(place) = state.wanted.iter().position(|order| now.room(&order.shape)) {
                    let order = state.wanted.remove(place);
                    state.making = Some(order.key.clone());
                    return Some(order);
                }
            }
            // The sender lives in `self`.
            let _ = signals.changed().await;
        }
    }

    async fn over(&self, parts: &Parts, order: Order, outcome: BuildResult) {
        let (pool, key) = (&order.pool.name, order.key.hex());
        match outcome {
            BuildResult::Made(info) => {
                tracing::info!(%pool, key, image = %order.shape.image, bytes = info.size, "template made");
                outdated::remove(parts).await;
            }
            BuildResult::Closed => {}
            BuildResult::NoImage => {
                tracing::debug!(%pool, key, image = %order.image, "a template's image was removed meanwhile");
            }
            BuildResult::Crowded => {
                tracing::debug!(%pool, key, "a template gave way to the pools; it is made when there is room");
                self.state().wanted.push(order.clone());
            }
            BuildResult::NoTimer(why) if order.guests + 1 < GUESTS => {
                tracing::debug!(%pool, key, "a template's guest is replaced: {why}");
                self.state().wanted.push(Order { guests: order.guests + 1, ..order.clone() });
            }
            BuildResult::Failed(why) | BuildResult::NoTimer(why) => {
                if self.failed(&order.key) {
                    tracing::warn!(%pool, key, "no template could be made, so machines boot: {why}");
                } else {
                    tracing::debug!(%pool, key, "no template could be made again: {why}");
                }
            }
        }
        self.state().making = None;
    }
}

#[cfg(test)]
mod tests {
    use fireactions_model::ImageRef;

    use super::*;

    #[test]
    fn there_is_room_until_the_pools_say_otherwise() {
        let image = ImageRef::new("debian:12").unwrap();
        let shape = Shape { image, vcpus: 1, memory_mib: 256, disk_mib: 512 };
        let room = |spare| Signals { spare, closed: false }.room(&shape);
        let spare = Spare { vcpus: 1, memory_mib: 320, machine_overhead_mib: 64 };
        assert!(room(None) && room(Some(spare)));
        assert!(!room(Some(Spare { vcpus: 0, ..spare })));
        assert!(!room(Some(Spare { memory_mib: 319, ..spare })));
        assert!(!room(Some(Spare::default())));
    }
    #[test]
    fn a_template_is_thrown_away_after_three_failures_with_no_success_between() {
        let (templates, key) = (Templates::new(), Digest::from_sha256([1; 32]));
        assert!(!templates.doubt(&key) && !templates.doubt(&key));
        templates.succeeded(&key);
        assert!(!templates.doubt(&key) && !templates.doubt(&key), "one that lived speaks for it");
        assert!(templates.doubt(&key));
        assert!(!templates.doubt(&key), "the next one of this key begins anew");
    }
}
