//! The QEMU driver.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use fireactions_model::MachineId;

use crate::accel::Choice;
use crate::{Capabilities, ProcessRecord, Vm, VmSpec, Vmm, VmmError};

/// How the driver runs QEMU.
#[derive(Debug, Clone)]
pub struct QemuConfig {
    /// `qemu-system-x86_64`: a path, or a name looked up in `PATH`.
    pub binary: PathBuf,
    /// From [`crate::accel::choose`].
    pub accel: Choice,
    /// Name of the cgroup that holds one cgroup per machine; `None`: no cgroups. The default is `fireactions`.
    pub cgroup_parent: Option<String>,
}

impl QemuConfig {
    /// The usual settings.
    pub fn new(accel: Choice) -> Self {
        Self {
            binary: PathBuf::from("qemu-system-x86_64"),
            accel,
            cgroup_parent: Some("fireactions".to_owned()),
        }
    }
}

/// The driver.
#[derive(Debug)]
pub struct Qemu {
    config: QemuConfig,
}

impl Qemu {
    /// Looks at the host's cgroups and says in the log what it cannot limit.
    pub fn new(config: QemuConfig) -> Self {
        Self { config }
    }
}

#[async_trait]
impl Vmm for Qemu {
    fn name(&self) -> &'static str {
        "qemu"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn spawn(&self, spec: &VmSpec) -> Result<Vm, VmmError> {
        Err(VmmError::Spec { id: spec.id.clone(), reason: format!("{} is not wired yet", self.config.binary.display()) })
    }

    async fn adopt(&self, _: &MachineId, _: &Path, _: &ProcessRecord) -> Result<Option<Vm>, VmmError> {
        Ok(None)
    }

    async fn sweep(&self, _: &Path, _: &MachineId, _: Option<&ProcessRecord>) -> Result<(), VmmError> {
        Ok(())
    }
}
