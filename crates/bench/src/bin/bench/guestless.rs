//! A VMM whose process is the stand-in and whose guest is never waited for: what is left of a machine's way is the
//! host's part, with the driver's own start of a process and its end.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use fireactions_model::{MachineId, Step};
use fireactions_store::{MachineChange, Store};
use fireactions_vmm::qemu::Qemu;
use fireactions_vmm::{Capabilities, ProcessRecord, Vm, VmSpec, Vmm, VmmError};

/// QEMU's driver with the stand-in for a program, except that every start fails once the process is there.
pub(crate) struct Guestless {
    qemu: Qemu,
    store: Store,
    starts: Arc<Mutex<Vec<Duration>>>,
}

impl Guestless {
    pub(crate) fn new(qemu: Qemu, store: Store) -> Self {
        Self { qemu, store, starts: Arc::default() }
    }

    /// How long each start of a process took, as they come.
    pub(crate) fn starts(&self) -> Arc<Mutex<Vec<Duration>>> {
        Arc::clone(&self.starts)
    }
}

#[async_trait]
impl Vmm for Guestless {
    fn name(&self) -> &'static str {
        "guestless"
    }

    fn fingerprint(&self) -> String {
        self.qemu.fingerprint()
    }

    fn capabilities(&self) -> Capabilities {
        // Nobody makes templates beside what is measured.
        Capabilities { snapshot: false, ..self.qemu.capabilities() }
    }

    /// Starts the process, and writes what a machine that starts would have had written, so that no durable write is left
    /// out. What undoes the machine ends the process, as it would any.
    async fn spawn(&self, spec: &VmSpec) -> Result<Vm, VmmError> {
        let began = Instant::now();
        let vm = self.qemu.spawn(spec).await?;
        self.starts.lock().unwrap_or_else(PoisonError::into_inner).push(began.elapsed());
        let started = vm.process();
        let nothing = serde_json::Value::Null;
        let process = MachineChange {
            step: Some((Step::Spawned, nothing.clone())),
            process: Some((started.pid, started.start_ticks)),
            ..MachineChange::default()
        };
        let agent = MachineChange { step: Some((Step::Agent, nothing)), ..MachineChange::default() };
        for change in [process, agent] {
            if let Err(error) = self.store.change_machine(&spec.id, change).await {
                return Err(VmmError::Spec { id: spec.id.clone(), reason: error.to_string() });
            }
        }
        Err(VmmError::Spec { id: spec.id.clone(), reason: "no guest is waited for here".into() })
    }

    async fn adopt(
        &self,
        _: &MachineId,
        _: &Path,
        _: &ProcessRecord,
        _: u64,
    ) -> Result<Option<Vm>, VmmError> {
        Ok(None)
    }

    async fn strays(&self) -> Result<Vec<MachineId>, VmmError> {
        self.qemu.strays().await
    }

    async fn sweep(
        &self,
        run_dir: &Path,
        id: &MachineId,
        record: Option<&ProcessRecord>,
    ) -> Result<(), VmmError> {
        self.qemu.sweep(run_dir, id, record).await
    }
}
