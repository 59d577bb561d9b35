//! A VMM that starts nothing: what is left of a machine's way is the host's part.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use fireactions_model::{MachineId, Step};
use fireactions_store::{MachineChange, Store};
use fireactions_vmm::qemu::Qemu;
use fireactions_vmm::{Capabilities, ProcessRecord, Vm, VmSpec, Vmm, VmmError};

/// QEMU's driver, except that every start fails at once.
pub(crate) struct Nothing {
    pub(crate) qemu: Arc<Qemu>,
    pub(crate) store: Store,
}

#[async_trait]
impl Vmm for Nothing {
    fn name(&self) -> &'static str {
        "nothing"
    }

    fn fingerprint(&self) -> String {
        self.qemu.fingerprint()
    }

    fn capabilities(&self) -> Capabilities {
        self.qemu.capabilities()
    }

    /// Writes what a machine that starts would have had written, so that no durable write is left out.
    async fn spawn(&self, spec: &VmSpec) -> Result<Vm, VmmError> {
        let nothing = serde_json::Value::Null;
        let process = MachineChange {
            step: Some((Step::Spawned, nothing.clone())),
            process: Some((u32::MAX, 0)),
            ..MachineChange::default()
        };
        let agent = MachineChange { step: Some((Step::Agent, nothing)), ..MachineChange::default() };
        for change in [process, agent] {
            if let Err(error) = self.store.change_machine(&spec.id, change).await {
                return Err(VmmError::Spec { id: spec.id.clone(), reason: error.to_string() });
            }
        }
        Err(VmmError::Spec { id: spec.id.clone(), reason: "nothing is started here".into() })
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
