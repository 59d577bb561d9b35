//! What a machine has of the host, gone: each step is idempotent, and needs no more than the machine's id.

use std::time::Duration;

use fireactions_model::MachineId;
use fireactions_vmm::ProcessRecord;
use tokio::time::timeout;

use crate::parts::Parts;

pub(crate) const STEP_DEADLINE: Duration = Duration::from_secs(30);

/// Process, sockets, cgroup, tap, rules, directory: gone, whether or not they were ever there.
pub(crate) async fn undo(
    parts: &Parts,
    id: &MachineId,
    process: Option<&ProcessRecord>,
) -> Result<(), String> {
    end_process(parts, id, process).await?;
    fail::fail_point!("machine::undo-process");
    // The tap can only go once the process that holds it is gone; the directory likewise.
    step("the network", parts.network.detach(id)).await?;
    fail::fail_point!("machine::undo-network");
    // Last: it is all that tells of the tap of a machine without a row, as a template's is, while that is on no bridge.
    remove_directory(parts, id).await?;
    fail::fail_point!("machine::undo-rest");
    Ok(())
}

/// Process and disk alone: what fills the host's disk. The rest follows with [`undo`].
pub(crate) async fn free_disk(
    parts: &Parts,
    id: &MachineId,
    process: Option<&ProcessRecord>,
) -> Result<(), String> {
    end_process(parts, id, process).await?;
    remove_directory(parts, id).await
}

async fn end_process(parts: &Parts, id: &MachineId, process: Option<&ProcessRecord>) -> Result<(), String> {
    step("the VMM process", parts.vmm.sweep(&parts.settings.machine_dir(id), id, process)).await
}

async fn step<E: std::fmt::Display>(
    what: &str,
    effect: impl Future<Output = Result<(), E>>,
) -> Result<(), String> {
    match timeout(STEP_DEADLINE, effect).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("{what} could not be undone: {error}")),
        Err(_) => Err(format!("{what} could not be undone within {STEP_DEADLINE:?}")),
    }
}

async fn remove_directory(parts: &Parts, id: &MachineId) -> Result<(), String> {
    let directory = parts.settings.machine_dir(id);
    let removed = async {
        match tokio::fs::remove_dir_all(&directory).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    };
    step("the run directory", removed).await
}
