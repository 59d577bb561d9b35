//! The machines of a server, and the pool's hands on them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use fireactions_guest_proto::host::Link;
use fireactions_image::ImageConfig;
use fireactions_model::{
    CreateError, Event, MachineId, MachineState, MachineView, Machines, NewMachine, PoolSpec, RetireError,
    Spare,
};
use fireactions_store::{MachineRow, NewMachineRow};
use fireactions_vmm::Usage;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::asks::{Asker, Decided, asks};
use crate::life::{Life, Start};
use crate::made::Made;
use crate::parts::Parts;
use crate::record::Record;
use crate::templates::{Templates, slots};
use crate::views::{Views, lock};

/// A machine answers a request between two awaits; this long means that its task hangs in the forge.
const RETIRE_DEADLINE: Duration = Duration::from_secs(30);

/// Every machine of this server. Clones share it.
#[derive(Clone)]
pub struct Machinery {
    inner: Arc<Inner>,
}

struct Inner {
    parts: Parts,
    views: Arc<Views>,
    templates: Templates,
    tasks: Mutex<HashMap<MachineId, Task>>,
    closed: AtomicBool,
}

/// A machine's task.
struct Task {
    asker: Arc<Asker>,
    decided: Decided,
    handle: AbortHandle,
}

impl Machinery {
    /// No machine is made or looked for yet: call [`Machinery::recover`] first.
    pub fn new(parts: Parts) -> Self {
        let views = Arc::new(Views::default());
        let inner = Inner {
            parts,
            views,
            templates: Templates::new(),
            tasks: Mutex::default(),
            closed: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// How many machines there can be at once: each has a slot, with an address and a tap of its own.
    pub fn slots(&self) -> u32 {
        let Parts { network, vmm, .. } = &self.inner.parts;
        slots(network, vmm.capabilities())
    }

    pub(crate) fn templates(&self) -> &Templates {
        &self.inner.templates
    }

    pub(crate) fn views_of(&self) -> &Views {
        &self.inner.views
    }

    /// What says whether a machine's task has looked at what is wished of it.
    pub(crate) fn decided(&self, id: &MachineId) -> Option<Decided> {
        lock(&self.inner.tasks).get(id).map(|task| Arc::clone(&task.decided))
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.inner.parts
    }

    /// Looks at every machine without taking a copy of it: true when `look` is of all.
    pub(crate) fn every(&self, look: impl Fn(&MachineView) -> bool) -> bool {
        self.inner.views.every(look)
    }

    /// One machine.
    pub fn view(&self, id: &MachineId) -> Option<MachineView> {
        self.inner.views.one(id)
    }

    /// What each machine with a VMM uses now. Reads a few files of the kernel's for each.
    pub fn usage(&self) -> HashMap<MachineId, Usage> {
        let vms = self.inner.views.vms();
        vms.into_iter().filter_map(|(id, vm)| Some((id, vm.usage()?))).collect()
    }

    /// The agent of a machine that is up, and how its image wants programs to be run: for `exec` and `login`.
    pub fn link(&self, id: &MachineId) -> Option<(Link, Arc<ImageConfig>)> {
        self.inner.views.link(id)
    }

    /// Where a machine's console log is.
    pub fn console(&self, id: &MachineId) -> PathBuf {
        self.inner.parts.settings.machine_dir(id).join("console.log")
    }

    /// Takes no new machines from now on.
    pub(crate) fn close(&self) {
        self.inner.closed.store(true, Ordering::SeqCst);
    }

    /// Machines that fail from now on are not held.
    pub(crate) fn hold_no_more(&self) {
        self.inner.views.hold_no_more();
    }

    /// Has a machine end now, without waiting.
    pub(crate) fn kill(&self, id: &MachineId, why: &str) {
        if let Some(task) = lock(&self.inner.tasks).get(id) {
            task.asker.kill(why);
        }
    }

    /// Starts the task of a machine that has a row. False when no machine is begun any more: the next server undoes it.
    pub(crate) fn begin(&self, row: &MachineRow, pool: Arc<PoolSpec>, start: Start) -> bool {
        // Held over the start, so that a task that ends at once does not remove its entry before it is made, and that none
        // begins once all were ended.
        let mut tasks = lock(&self.inner.tasks);
        if self.inner.closed.load(Ordering::SeqCst) {
            return false;
        }
        let Parts { store, events, network, .. } = &self.inner.parts;
        let id = row.id.clone();
        let mut view = row.view(network.address(row.slot));
        if let Start::Adopted(adopted) = &start {
            view.started = adopted.started;
        }
        if row.state == MachineState::Held && row.hold_secs.is_none() {
            self.inner.views.holds(&id, &row.pool);
        }
        self.inner.views.wish(&id, row.hold_secs);
        let mut record = Record::new(store.clone(), events.clone(), Arc::clone(&self.inner.views), row, view);
        if let Start::Adopted(adopted) = &start {
            record.set_busy_since(adopted.busy_since);
        }
        let (asker, asks) = asks();
        let (asker, decided) = (Arc::new(asker), Decided::default());
        let inner = Arc::clone(&self.inner);
        let task_id = id.clone();
        let life = Box::new(Life {
            parts: inner.parts.clone(),
            templates: inner.templates.clone(),
            pool,
            record,
            asks,
            decided: Arc::clone(&decided),
            made: Made::default(),
            ended: None,
        });
        let handle = tokio::spawn(async move {
            life.run(start).await;
            lock(&inner.tasks).remove(&task_id);
        })
        .abort_handle();
        tasks.insert(id, Task { asker, decided, handle });
        true
    }

    /// Shows a machine that only goes, until `undone` returns and its row is gone.
    pub(crate) fn go(&self, view: MachineView, undone: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.inner.tasks);
        if self.inner.closed.load(Ordering::SeqCst) {
            return;
        }
        let (id, pool) = (view.id.clone(), view.pool.clone());
        self.inner.views.put(view);
        let (inner, task_id) = (Arc::clone(&self.inner), id.clone());
        let handle = tokio::spawn(async move {
            undone.await;
            inner.views.remove(&task_id);
            let _ = inner.parts.events.send(Event::MachineGone { id: task_id.clone(), pool });
            lock(&inner.tasks).remove(&task_id);
        })
        .abort_handle();
        // Who asks it to go hears that it goes: nobody listens.
        let (asker, _) = asks();
        let decided = Arc::new(tokio::sync::Mutex::new(true));
        tasks.insert(id, Task { asker: Arc::new(asker), decided, handle });
    }

    /// Writes a machine's row and begins its task.
    async fn make(&self, pool: Arc<PoolSpec>, new: NewMachine) -> Result<MachineId, CreateError> {
        let parts = &self.inner.parts;
        let row = parts
            .store
            .insert_machine(NewMachineRow {
                id: MachineId::from_random(rand::random()),
                spec: PoolSpec::clone(&pool),
                shape: new.shape,
                max_slots: self.slots(),
            })
            .await
            .map_err(|e| CreateError::Store(e.to_string()))?;
        fail::fail_point!("machine::row-made");
        if self.begin(&row, pool, Start::Fresh) { Ok(row.id) } else { Err(CreateError::Closed) }
    }

    /// Ends the tasks of all machines where they are and detaches from what runs: nothing is undone, and the next
    /// server takes everything over. Returns when no task does anything any more.
    pub(crate) async fn detach_tasks(&self) {
        let tasks: Vec<Task> = lock(&self.inner.tasks).drain().map(|(_, task)| task).collect();
        for task in &tasks {
            task.handle.abort();
        }
        for task in tasks {
            // An aborted task ends at its next await.
            while !task.handle.is_finished() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        self.inner.views.detach_all();
    }
}

#[async_trait]
impl Machines for Machinery {
    async fn create(&self, new: NewMachine) -> Result<MachineId, CreateError> {
        let parts = &self.inner.parts;
        if self.inner.closed.load(Ordering::SeqCst) {
            return Err(CreateError::Closed);
        }
        let Some(pool) = parts.settings.pools.get(&new.pool).cloned() else {
            return Err(CreateError::NoPool(new.pool));
        };
        // In a task of its own: a caller that has waited long enough leaves no row behind that nobody cares for.
        let machinery = self.clone();
        tokio::spawn(async move { machinery.make(pool, new).await })
            .await
            .unwrap_or_else(|error| Err(CreateError::Store(format!("the machine's row: {error}"))))
    }

    async fn retire(&self, id: &MachineId, why: &str) -> Result<(), RetireError> {
        let asker = lock(&self.inner.tasks).get(id).map(|task| Arc::clone(&task.asker));
        let Some(asker) = asker else {
            return Err(RetireError::Unknown(id.clone()));
        };
        let Some(answered) = asker.retire(why) else {
            // Closed: it is going already. Full: it has been asked, and has not answered because it works.
            return if asker.is_closed() { Ok(()) } else { Err(RetireError::Busy(id.clone())) };
        };
        match timeout(RETIRE_DEADLINE, answered).await {
            // The sender is dropped unanswered only when the task ends.
            Ok(Ok(true) | Err(_)) => Ok(()),
            Ok(Ok(false)) | Err(_) => Err(RetireError::Busy(id.clone())),
        }
    }

    fn views(&self) -> Vec<Arc<MachineView>> {
        self.inner.views.all()
    }

    fn spare(&self, spare: Spare) {
        self.inner.templates.spare(spare);
    }

    async fn changed(&self) {
        self.inner.views.changed().await;
    }
}
