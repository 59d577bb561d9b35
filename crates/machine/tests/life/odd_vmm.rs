//! The driver of machines on a host that does not let every process go.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use fireactions_model::MachineId;
use fireactions_vmm::{Capabilities, ProcessRecord, Vm, VmSpec, Vmm, VmmError};

pub(crate) struct OddVmm {
    pub(crate) vmm: Arc<dyn Vmm>,
    /// No process goes.
    pub(crate) resists: Arc<AtomicBool>,
}

#[async_trait]
impl Vmm for OddVmm {
    fn name(&self) -> &'static str {
        self.vmm.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.vmm.capabilities()
    }

    fn fingerprint(&self) -> String {
        self.vmm.fingerprint()
    }

    async fn spawn(&self, spec: &VmSpec) -> Result<Vm, VmmError> {
        self.vmm.spawn(spec).await
    }

    async fn adopt(
        &self,
        id: &MachineId,
        run_dir: &Path,
        record: &ProcessRecord,
        console_max: u64,
    ) -> Result<Option<Vm>, VmmError> {
        self.vmm.adopt(id, run_dir, record, console_max).await
    }

    async fn strays(&self) -> Result<Vec<MachineId>, VmmError> {
        self.vmm.strays().await
    }

    async fn sweep(
        &self,
        run_dir: &Path,
        id: &MachineId,
        record: Option<&ProcessRecord>,
    ) -> Result<(), VmmError> {
        if self.resists.load(Ordering::SeqCst) {
            let deadline = Duration::ZERO;
            return Err(VmmError::Timeout { id: id.clone(), what: "go after SIGKILL", deadline });
        }
        self.vmm.sweep(run_dir, id, record).await
    }
}
