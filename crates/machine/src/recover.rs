//! At start: what an earlier server left is taken over where it is whole, and removed where it is not.
//!
//! ```text
//!  rows ─┬─ its VMM runs, its tap is there ──▶ adopted: the machine's task goes on where the row says
//!        ├─ it was being made or undone ─────▶ undone
//!        └─ its VMM or tap is gone ──────────▶ undone; its job is lost
//!                                              (what resists is undone later, and keeps its row)
//!  processes, cgroups, taps, rules, directories without a row ─▶ removed
//! ```

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use fireactions_model::{
    Autopsy, ExponentialBackoff, Failure, FailureKind, MachineId, MachineState, PoolSpec, Report, StartMode,
    Step,
};
use fireactions_net::{Network, Port};
use fireactions_store::MachineRow;
use fireactions_vmm::{ProcessRecord, Vm};
use futures::{StreamExt, TryStreamExt, stream};

use crate::console::tail_text;
use crate::life::{Adopted, Start};
use crate::machinery::Machinery;
use crate::parts::Parts;
use crate::record::{busy_since, ended, started, told};
use crate::release::deregister;
use crate::report::{judged, tell_once};
use crate::undo::undo;

/// Longest pause between two attempts to undo a machine.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Machines that are looked at, or undone, at a time.
const AT_ONCE: usize = 32;

/// What recovery found and did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Machines that go on.
    pub adopted: Vec<MachineId>,
    /// Machines with a row that were undone.
    pub undone: Vec<MachineId>,
    /// Processes, cgroups, taps, rules and directories without a row that were removed.
    pub strays: Vec<MachineId>,
}

/// A machine whose VMM runs.
struct Found {
    row: MachineRow,
    vm: Vm,
    spec: Arc<PoolSpec>,
    started: Option<StartMode>,
    busy_since: Option<u64>,
    ended: Option<Report>,
    report: Option<Report>,
}

impl Machinery {
    /// Takes over every machine that an earlier server left and that is whole, undoes the others, and removes
    /// everything that looks like a machine's and has no row. Jobs of machines that were undone are reported as lost,
    /// so that the forge's retry policy decides. To be called once, before the first machine is made.
    ///
    /// Returns before the adopted machines' agents have answered: each has its pool's boot deadline for that.
    ///
    /// A machine that cannot be undone now keeps its row, and so its slot; it is undone as soon as that works.
    ///
    /// # Errors
    /// When rows cannot be read, or something without a row cannot be removed: the server must not start on top of it, for
    /// nobody knows whose slot it has.
    pub async fn recover(&self) -> Result<Recovered, String> {
        let parts = self.parts();
        let rows =
            parts.store.machines().await.map_err(|e| format!("the machines could not be read: {e}"))?;
        let known: HashSet<MachineId> = rows.iter().map(|row| row.id.clone()).collect();

        let looked: Vec<Result<Found, (MachineRow, String)>> =
            stream::iter(rows).map(|row| find(parts, row)).buffer_unordered(AT_ONCE).collect().await;
        let (mut found, mut broken) = (Vec::new(), Vec::new());
        for look in looked {
            match look {
                Ok(machine) => found.push(machine),
                Err(other) => broken.push(other),
            }
        }
        let ports = found.iter().map(|machine| port(parts, machine)).collect::<Result<_, _>>()?;
        let gone = parts
            .network
            .adopt(ports)
            .await
            .map_err(|e| format!("the machines' rules could not be written: {e}"))?;
        fail::fail_point!("machine::recover-rules");

        let mut recovered = Recovered::default();
        for Found { row, vm, spec, started, busy_since, ended, report } in found {
            if gone.contains(&row.id) {
                broken.push((row, "its tap is gone".to_owned()));
                continue;
            }
            let root = match &row.image {
                Some(image) => parts.images.stored(image).await,
                None => None,
            };
            let Some(root) = root else {
                broken.push((row, "its image is gone".to_owned()));
                continue;
            };
            recovered.adopted.push(row.id.clone());
            let adopted = Adopted { vm, image: Arc::new(root.config), started, busy_since, ended, report };
            self.begin(&row, spec, Start::Adopted(Box::new(adopted)));
        }
        fail::fail_point!("machine::recover-adopted");
        let undone: Vec<_> = stream::iter(broken)
            .map(|(row, why)| async move {
                let undone = undo_row(parts, &row, &why).await;
                (row, why, undone)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for (row, why, undone) in undone {
            match undone {
                Ok(()) => recovered.undone.push(row.id),
                Err(error) => self.undo_later(row, why, error),
            }
        }
        fail::fail_point!("machine::recover-undone");
        let strays: Vec<MachineId> =
            strays(parts).await?.into_iter().filter(|id| !known.contains(id)).collect();
        recovered.strays = stream::iter(strays)
            .map(|id| async move { undo(parts, &id, None).await.map(|()| id) })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(recovered)
    }

    /// Undoes a machine that could not be undone, again and again until it works.
    fn undo_later(&self, row: MachineRow, why: String, error: String) {
        tracing::error!(machine = %row.id, "a machine that an earlier server left could not be undone, which is tried again: {error}");
        let mut view = row.view(self.parts().network.address(row.slot));
        view.state = MachineState::Stopping;
        view.failure.get_or_insert(Failure { kind: FailureKind::Host, message: error });
        let parts = self.parts().clone();
        self.go(view, async move {
            let mut pauses = ExponentialBackoff::new(Duration::from_secs(1), LONGEST_PAUSE);
            loop {
                tokio::time::sleep(pauses.failed(rand::random())).await;
                match undo_row(&parts, &row, &why).await {
                    Ok(()) => return,
                    Err(error) => tracing::error!(machine = %row.id, "{error}; trying again"),
                }
            }
        });
    }
}

/// Looks for what the row speaks of. Err: why the machine cannot go on.
async fn find(parts: &Parts, row: MachineRow) -> Result<Found, (MachineRow, String)> {
    let (Some(pid), Some(start_ticks)) = (row.pid, row.start_ticks) else {
        return Err((row, "the server stopped while it was being made".to_owned()));
    };
    if row.state == MachineState::Stopping || row.step == Step::Teardown {
        return Err((row, "the server stopped while it was being undone".to_owned()));
    }
    // It keeps to the pool that it was made for; rows of the first schema do not say which that was.
    let configured = parts.settings.pools.get(&row.pool);
    let spec = match &row.spec {
        Some(spec) if configured.is_none_or(|pool| **pool != *spec) => Some(Arc::new(spec.clone())),
        _ => configured.cloned(),
    };
    let Some(spec) = spec else {
        let why = format!("its pool '{}' is not configured any more", row.pool);
        return Err((row, why));
    };
    let record = ProcessRecord { pid, start_ticks };
    let directory = parts.settings.machine_dir(&row.id);
    match parts.vmm.adopt(&row.id, &directory, &record, parts.settings.console_max).await {
        Ok(Some(vm)) => {
            // How it was started is only shown, and how its job ended the guest knows too.
            let journal = parts.store.journal_of(&row.id).await.unwrap_or_default();
            Ok(Found {
                row,
                vm,
                spec,
                started: started(&journal),
                busy_since: busy_since(&journal),
                ended: ended(&journal),
                report: told(&journal),
            })
        }
        Ok(None) => Err((row, "its VMM process was gone when the server started".to_owned())),
        Err(error) => Err((row, format!("its VMM process could not be taken over: {error}"))),
    }
}

/// The machine's slot in the network, as it was made.
fn port(parts: &Parts, Found { row, spec, .. }: &Found) -> Result<Port, String> {
    let address = parts.network.address(row.slot).ok_or_else(|| {
        format!(
            "machine {} has slot {} of the network, which the configured subnet does not have; use the \
             former subnet until the machine is gone",
            row.id, row.slot
        )
    })?;
    Ok(Port {
        machine: row.id.clone(),
        tap: Network::tap_name(&row.id),
        address,
        address6: parts.network.address6(row.slot),
        mac: Network::mac(row.slot),
        owner_uid: parts.settings.uid_base + row.slot,
        policy: spec.network.clone(),
    })
}

async fn undo_row(parts: &Parts, row: &MachineRow, why: &str) -> Result<(), String> {
    let process = match (row.pid, row.start_ticks) {
        (Some(pid), Some(start_ticks)) => Some(ProcessRecord { pid, start_ticks }),
        _ => None,
    };
    tracing::warn!(machine = %row.id, job = ?row.job, step = row.step.as_str(), "undone at start: {why}");
    // Deregistered first: nothing may be bound to what is about to be killed. What was bound in the last moment of the
    // server before, its row does not tell.
    let job = match &row.job {
        Some(job) => Some(job.clone()),
        None => deregister(parts, &row.id)
            .await
            .map_err(|why| format!("whether machine {} has a job could not be asked: {why}", row.id))?,
    };
    // The server before may have known the end and had no time to tell it.
    let journal = parts.store.journal_of(&row.id).await;
    let journal = journal.map_err(|e| format!("machine {}'s journal: {e}", row.id))?;
    let console = tail_text(&parts.settings.machine_dir(&row.id).join("console.log")).await;
    undo(parts, &row.id, process.as_ref()).await.map_err(|e| format!("machine {}: {e}", row.id))?;
    fail::fail_point!("machine::recover-undo");
    if let Some(job) = &job {
        // Only now: it must not run in two machines. Reporting the end of a job twice changes nothing.
        let report = match (told(&journal), ended(&journal)) {
            (Some(told), _) => told,
            (None, Some(ended)) => judged(parts, job, ended).await.0,
            (None, None) => lost(row, format!("machine {}: {why}", row.id), console),
        };
        tell_once(parts, job, &row.id, &report).await.map_err(|why| {
            format!("the end of job {job} on machine {} could not be recorded: {why}", row.id)
        })?;
    }
    parts.store.remove_machine(&row.id).await.map_err(|e| format!("machine {}'s row: {e}", row.id))
}

/// The report for a job whose machine was undone.
fn lost(row: &MachineRow, reason: String, console_tail: String) -> Report {
    let autopsy =
        Autopsy { state: row.state, step: row.step, vmm: Some(reason.clone()), oom_kills: 0, console_tail };
    Report::lost(reason, row.phases.clone(), autopsy)
}

/// Machines that have a process, a cgroup, a tap, rules or a directory.
async fn strays(parts: &Parts) -> Result<HashSet<MachineId>, String> {
    let mut found: HashSet<MachineId> = parts
        .network
        .attached()
        .await
        .map_err(|e| format!("the taps and rules could not be listed: {e}"))?
        .into_iter()
        .collect();
    found
        .extend(parts.vmm.strays().await.map_err(|e| format!("the VMM processes could not be listed: {e}"))?);
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
