//! Machines that wait for work. A forge wakes as many as it has work for, not all: with a thousand that wait, each new job
//! would have each of them look.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fireactions_model::{ForgeError, MachineId, Offer, PoolName, PoolSpec, Shape};
use fireactions_store::{Standing, Store};
use tokio::sync::Notify;

use crate::refusal::forge_error;

/// What machines that serve the same jobs have in common.
type Kind = (PoolName, Shape);

/// All machines that wait, of every forge of a server.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By turn: a machine may be waited for by more than one call.
    calls: BTreeMap<u64, Call>,
    /// Those that sleep, the longest waiting first.
    asleep: BTreeMap<Kind, Group>,
    entered: u64,
}

#[derive(Debug)]
struct Call {
    machine: MachineId,
    kind: Kind,
    woken: Arc<Notify>,
    /// Woken, and not yet back to sleep: it looks for work.
    looks: bool,
    /// Its machine was let go: it is to ask how that stands.
    released: bool,
}

#[derive(Debug)]
struct Group {
    pool: Arc<PoolSpec>,
    turns: BTreeSet<u64>,
}

impl State {
    fn wake(&mut self, kind: &Kind) -> bool {
        let Some(turn) = self.asleep.get(kind).and_then(|group| group.turns.first().copied()) else {
            return false;
        };
        self.forget_turn(kind, turn);
        if let Some(call) = self.calls.get_mut(&turn) {
            call.looks = true;
            call.woken.notify_one();
        }
        true
    }

    fn forget_turn(&mut self, kind: &Kind, turn: u64) {
        if let Some(group) = self.asleep.get_mut(kind) {
            group.turns.remove(&turn);
            if group.turns.is_empty() {
                self.asleep.remove(kind);
            }
        }
    }
}

impl Waiters {
    /// Plain data, whole at every moment: a panic elsewhere does not spoil it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes one machine that serves such a job. False when none sleeps.
    pub(crate) fn wake_for(&self, serves: impl Fn(&PoolSpec, &Shape) -> bool) -> bool {
        let mut state = self.state();
        let kind = state.asleep.iter().find(|((_, shape), group)| serves(&group.pool, shape));
        let Some(kind) = kind.map(|(kind, _)| kind.clone()) else { return false };
        state.wake(&kind)
    }

    /// Sees to it that so many of a pool's machines look for work.
    pub(crate) fn wake_of_pool(&self, pool: &PoolName, count: u32) {
        let mut state = self.state();
        let looking = state.calls.values().filter(|call| call.looks && call.kind.0 == *pool).count();
        for _ in looking..usize::try_from(count).unwrap_or(usize::MAX) {
            let Some(kind) = state.asleep.keys().find(|(name, _)| name == pool).cloned() else { return };
            state.wake(&kind);
        }
    }

    /// A machine was let go: if it waits, it waits in vain.
    pub(crate) fn release(&self, machine: &MachineId) {
        for call in self.state().calls.values_mut().filter(|call| call.machine == *machine) {
            call.released = true;
            call.woken.notify_one();
        }
    }

    fn enter(&self, offer: &Offer) -> Waiter<'_> {
        let mut state = self.state();
        state.entered += 1;
        let turn = state.entered;
        let woken = Arc::new(Notify::new());
        let call = Call {
            machine: offer.machine.clone(),
            kind: (offer.pool.name.clone(), offer.shape.clone()),
            woken: Arc::clone(&woken),
            looks: true,
            released: false,
        };
        state.calls.insert(turn, call);
        Waiter { all: self, turn, pool: Arc::clone(&offer.pool), woken }
    }
}

/// One machine that waits.
struct Waiter<'a> {
    all: &'a Waiters,
    turn: u64,
    pool: Arc<PoolSpec>,
    woken: Arc<Notify>,
}

impl Waiter<'_> {
    /// From here on it can be woken. To be called before a last look, so that what comes in between is not missed.
    fn lie_down(&self) {
        let mut state = self.all.state();
        let Some(call) = state.calls.get_mut(&self.turn) else { return };
        call.looks = false;
        let kind = call.kind.clone();
        let new = || Group { pool: Arc::clone(&self.pool), turns: BTreeSet::new() };
        state.asleep.entry(kind).or_insert_with(new).turns.insert(self.turn);
    }

    /// Waits until it is woken. True when its machine was let go, and is to ask how it stands.
    async fn wake(&self) -> bool {
        self.woken.notified().await;
        let state = self.all.state();
        state.calls.get(&self.turn).is_none_or(|call| call.released)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut state = self.all.state();
        let Some(call) = state.calls.remove(&self.turn) else { return };
        state.forget_turn(&call.kind, self.turn);
        if call.looks {
            // It may have been woken for work that it did not take: another looks in its place.
            state.wake(&call.kind);
        }
    }
}

/// What a machine that waited is given.
pub(crate) enum Found<T> {
    /// Work.
    Work(T),
    /// None: it has work already, or may have none.
    Standing(Standing),
}

/// Waits until `claim` has something for the machine, or it may have no work any more.
pub(crate) async fn acquire<T, C: Future<Output = Result<Option<T>, ForgeError>> + Send>(
    waiters: &Waiters,
    store: &Store,
    offer: &Offer,
    claim: impl Fn() -> C + Send,
) -> Result<Found<T>, ForgeError> {
    let waiter = waiters.enter(offer);
    // A machine that waits and is woken need not ask the database about itself: binding asks anyway.
    let mut unsure = true;
    loop {
        // Listen first, look then: what comes in between is not missed.
        waiter.lie_down();
        if unsure {
            match store.standing(&offer.machine).await.map_err(forge_error)? {
                Standing::Free => {}
                standing => return Ok(Found::Standing(standing)),
            }
        }
        if let Some(found) = claim().await? {
            return Ok(Found::Work(found));
        }
        unsure = waiter.wake().await;
    }
}

#[cfg(test)]
mod tests {
    use fireactions_model::ImageRef;
    use futures::FutureExt;

    use super::*;

    fn offer(n: u8, pool: &str) -> Offer {
        let shape = Shape { image: ImageRef::new("a").unwrap(), vcpus: 1, memory_mib: 64, disk_mib: 64 };
        let pool = PoolSpec::new(PoolName::new(pool).unwrap(), shape.clone());
        Offer { machine: MachineId::from_random([n; 8]), pool: pool.into(), shape }
    }

    fn woken(waiter: &Waiter<'_>) -> bool {
        waiter.wake().now_or_never().is_some()
    }

    #[test]
    fn one_job_wakes_one_machine_that_serves_it_the_longest_waiting_first() {
        let all = Waiters::default();
        let (first, second, other) =
            (all.enter(&offer(1, "p")), all.enter(&offer(2, "p")), all.enter(&offer(3, "q")));
        for waiter in [&second, &other, &first] {
            waiter.lie_down();
        }
        let of_p = |pool: &PoolSpec, _: &Shape| pool.name.as_str() == "p";
        assert!(all.wake_for(of_p));
        assert_eq!([&first, &second, &other].map(woken), [true, false, false]);
        assert!(all.wake_for(of_p) && !all.wake_for(of_p), "both look now");
        assert_eq!([&first, &second, &other].map(woken), [false, true, false]);
        first.lie_down();
        assert!(all.wake_for(of_p));
    }

    #[test]
    fn one_that_is_woken_and_goes_wakes_another() {
        let all = Waiters::default();
        let (first, second) = (all.enter(&offer(1, "p")), all.enter(&offer(2, "p")));
        first.lie_down();
        second.lie_down();
        all.wake_of_pool(&PoolName::new("p").unwrap(), 1);
        all.wake_of_pool(&PoolName::new("p").unwrap(), 1);
        assert!(!woken(&second), "one looks already");
        drop(first);
        assert!(woken(&second));
        drop(second);
        assert!(all.state().calls.is_empty() && all.state().asleep.is_empty());
    }

    #[test]
    fn a_released_machine_alone_is_told() {
        let all = Waiters::default();
        let (first, second) = (all.enter(&offer(1, "p")), all.enter(&offer(2, "p")));
        first.lie_down();
        second.lie_down();
        all.release(&MachineId::from_random([2; 8]));
        assert_eq!((first.wake().now_or_never(), second.wake().now_or_never()), (None, Some(true)));
    }

    #[test]
    fn each_of_two_calls_for_one_machine_is_woken() {
        let all = Waiters::default();
        let (first, second) = (all.enter(&offer(1, "p")), all.enter(&offer(1, "p")));
        first.lie_down();
        second.lie_down();
        drop(second);
        assert!(all.wake_for(|_, _| true) && woken(&first));
    }
}
