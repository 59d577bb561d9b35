//! What others see of the machines.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fireactions_guest_proto::host::Link;
use fireactions_image::ImageConfig;
use fireactions_model::{MachineId, MachineState, MachineView, PoolName};
use fireactions_vmm::Vm;
use tokio::sync::Notify;

/// A lock whose holder never leaves it half-changed: a panic in between is no reason to stop the others.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Views, and the handles that others than the machine's task use.
#[derive(Default)]
pub(crate) struct Views {
    map: Mutex<BTreeMap<MachineId, Arc<MachineView>>>,
    links: Mutex<HashMap<MachineId, (Link, Arc<ImageConfig>)>>,
    vms: Mutex<HashMap<MachineId, Vm>>,
    /// Machines that are or will be held because they or their jobs failed.
    held: Mutex<HashMap<MachineId, PoolName>>,
    /// Seconds for which machines are to be held once their jobs have ended.
    wishes: Mutex<HashMap<MachineId, u64>>,
    hold_no_more: AtomicBool,
    changed: Notify,
}

impl Views {
    /// Shows a machine, with what is wished of it.
    pub(crate) fn put(&self, mut view: MachineView) -> Arc<MachineView> {
        // Held over both, so that no view of before comes after.
        let wishes = lock(&self.wishes);
        let counts = !matches!(view.state, MachineState::Held | MachineState::Stopping);
        view.hold_secs = wishes.get(&view.id).copied().filter(|_| counts);
        let view = Arc::new(view);
        lock(&self.map).insert(view.id.clone(), Arc::clone(&view));
        self.changed.notify_one();
        view
    }

    /// Notes a wish, and shows it on its machine, if that is shown already.
    pub(crate) fn wish(&self, id: &MachineId, secs: Option<u64>) -> Option<Arc<MachineView>> {
        let mut wishes = lock(&self.wishes);
        match secs {
            Some(secs) => wishes.insert(id.clone(), secs),
            None => wishes.remove(id),
        };
        let mut map = lock(&self.map);
        let view = map.get_mut(id)?;
        Arc::make_mut(view).hold_secs = secs;
        self.changed.notify_one();
        Some(Arc::clone(view))
    }

    /// For how long the machine is to be held once its job has ended.
    pub(crate) fn wished(&self, id: &MachineId) -> Option<Duration> {
        lock(&self.wishes).get(id).copied().map(Duration::from_secs)
    }

    pub(crate) fn one(&self, id: &MachineId) -> Option<MachineView> {
        lock(&self.map).get(id).map(|view| MachineView::clone(view))
    }

    pub(crate) fn all(&self) -> Vec<Arc<MachineView>> {
        lock(&self.map).values().cloned().collect()
    }

    /// Looks at every view without taking a copy. `look` must not call back.
    pub(crate) fn every(&self, look: impl Fn(&MachineView) -> bool) -> bool {
        lock(&self.map).values().all(|view| look(view))
    }

    /// Returns when a view changed since the last return of this call. May return early.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The machine's agent can be talked to.
    pub(crate) fn linked(&self, id: &MachineId, link: Link, image: Arc<ImageConfig>) {
        lock(&self.links).insert(id.clone(), (link, image));
    }

    pub(crate) fn link(&self, id: &MachineId) -> Option<(Link, Arc<ImageConfig>)> {
        lock(&self.links).get(id).cloned()
    }

    /// The machine's VMM runs.
    pub(crate) fn runs(&self, id: &MachineId, vm: Vm) {
        lock(&self.vms).insert(id.clone(), vm);
    }

    /// Every VMM that runs, or has just ended.
    pub(crate) fn vms(&self) -> Vec<(MachineId, Vm)> {
        lock(&self.vms).iter().map(|(id, vm)| (id.clone(), vm.clone())).collect()
    }

    /// The machine is held already.
    pub(crate) fn holds(&self, id: &MachineId, pool: &PoolName) {
        lock(&self.held).insert(id.clone(), pool.clone());
    }

    /// The server ends, and leaves no machine: none is held any more.
    pub(crate) fn hold_no_more(&self) {
        self.hold_no_more.store(true, Ordering::SeqCst);
    }

    /// Whether machines are held no more.
    pub(crate) fn holds_no_more(&self) -> bool {
        self.hold_no_more.load(Ordering::SeqCst)
    }

    /// Takes one of the pool's `max` places for held machines, if there is one. Without `max` none is needed.
    pub(crate) fn may_hold(&self, id: &MachineId, pool: &PoolName, max: Option<u32>) -> bool {
        if self.holds_no_more() {
            return false;
        }
        let Some(max) = max else { return true };
        let mut held = lock(&self.held);
        let room = held.values().filter(|other| *other == pool).count() < max as usize;
        if room {
            held.insert(id.clone(), pool.clone());
        }
        room
    }

    pub(crate) fn remove(&self, id: &MachineId) {
        lock(&self.wishes).remove(id);
        lock(&self.map).remove(id);
        lock(&self.links).remove(id);
        lock(&self.vms).remove(id);
        lock(&self.held).remove(id);
        self.changed.notify_one();
    }

    /// Closes every link and detaches from every VMM: another server takes them over.
    pub(crate) fn detach_all(&self) {
        for (link, _) in lock(&self.links).values() {
            link.close();
        }
        for (_, vm) in lock(&self.vms).drain() {
            vm.detach();
        }
    }
}
