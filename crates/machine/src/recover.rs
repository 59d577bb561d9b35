//! At start: what an earlier server left.

use std::collections::HashSet;
use std::time::Duration;

use fireactions_model::MachineId;
use fireactions_store::MachineRow;
use fireactions_vmm::ProcessRecord;

use crate::machinery::Machinery;
use crate::parts::Parts;
use crate::serve::tell_lost;
use crate::teardown::undo;

/// What recovery found and did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Machines with a row that were undone.
    pub undone: Vec<MachineId>,
    /// Taps, rules and directories without a row that were removed.
    pub strays: Vec<MachineId>,
}

impl Machinery {
    /// Undoes every machine that an earlier server left, then everything that looks like a machine's and has no
    /// row. Jobs that were bound to one are told lost, so that the forge's retry policy decides. To be called once,
    /// before the first machine is made.
    ///
    /// # Errors
    /// When rows cannot be read, or something cannot be removed: the server must not start on top of it.
    pub async fn recover(&self) -> Result<Recovered, String> {
        let parts = self.parts();
        let mut recovered = Recovered::default();
        let rows =
            parts.store.machines().await.map_err(|e| format!("the machines could not be read: {e}"))?;
        for row in rows {
            undo_row(parts, &row).await?;
            recovered.undone.push(row.id);
        }
        for id in strays(parts).await? {
            undo(parts, &id, None).await?;
            recovered.strays.push(id);
        }
        Ok(recovered)
    }
}

async fn undo_row(parts: &Parts, row: &MachineRow) -> Result<(), String> {
    let process = match (row.pid, row.start_ticks) {
        (Some(pid), Some(start_ticks)) => Some(ProcessRecord { pid, start_ticks }),
        _ => None,
    };
    undo(parts, &row.id, process.as_ref()).await.map_err(|e| format!("machine {}: {e}", row.id))?;
    if let Some(job) = &row.job {
        tell_lost(parts, job, &row.id, format!("the server stopped while machine {} had it", row.id)).await;
    } else if tokio::time::timeout(Duration::from_secs(20), parts.forge.release(&row.id)).await.is_err() {
        tracing::warn!(machine = %row.id, "the forge did not answer a release; its own audit will find the runner");
    }
    parts.store.remove_machine(&row.id).await.map_err(|e| format!("machine {}'s row: {e}", row.id))
}

/// Machines that have a tap, rules or a directory.
async fn strays(parts: &Parts) -> Result<HashSet<MachineId>, String> {
    let mut found: HashSet<MachineId> = parts
        .network
        .attached()
        .await
        .map_err(|e| format!("the taps and rules could not be listed: {e}"))?
        .into_iter()
        .collect();
    let run_dir = &parts.settings.run_dir;
    let unreadable = |e: std::io::Error| format!("{} could not be read: {e}", run_dir.display());
    let mut entries = tokio::fs::read_dir(run_dir).await.map_err(unreadable)?;
    while let Some(entry) = entries.next_entry().await.map_err(unreadable)? {
        if let Some(id) = entry.file_name().to_str().and_then(|name| MachineId::new(name).ok()) {
            found.insert(id);
        }
    }
    Ok(found)
}
