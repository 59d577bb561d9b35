//! What others see of the machines.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fireactions_guest_proto::host::Link;
use fireactions_image::ImageConfig;
use fireactions_model::{MachineId, MachineView, PoolName};
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
    /// Machines that are or will be held.
    held: Mutex<HashMap<MachineId, PoolName>>,
    hold_no_more: AtomicBool,
    changed: Notify,
}

impl Views {
    pub(crate) fn put(&self, view: Arc<MachineView>) {
        lock(&self.map).insert(view.id.clone(), view);
        self.changed.notify_one();
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

    /// Takes one of the pool's places for held machines, if there is one.
    pub(crate) fn may_hold(&self, id: &MachineId, pool: &PoolName, max: u32) -> bool {
        if self.hold_no_more.load(Ordering::SeqCst) {
            return false;
        }
        let mut held = lock(&self.held);
        let room = held.values().filter(|other| *other == pool).count() < max as usize;
        if room {
            held.insert(id.clone(), pool.clone());
        }
        room
    }

    pub(crate) fn remove(&self, id: &MachineId) {
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
