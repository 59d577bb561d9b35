//! What machines have on a host beside their files: processes and cgroups, found whether or not they were written down.

use std::collections::BTreeSet;
use std::time::Duration;

use fireactions_model::MachineId;
use rustix::process::Signal;

use crate::cgroup::Cgroups;
use crate::process::Process;
use crate::scan::Scanner;
use crate::{ProcessRecord, VmmError};

/// How long a process may take to go after SIGKILL.
const DEADLINE: Duration = Duration::from_secs(10);

/// Looks for one driver's processes and cgroups, and ends them.
#[derive(Debug)]
pub(crate) struct Remains {
    pub(crate) cgroups: Cgroups,
    pub(crate) scanner: Scanner,
}

impl Remains {
    /// The machine's processes: the recorded one, or without a record those that a look at all of them finds, and
    /// whatever else is in its cgroups.
    async fn processes(
        &self,
        id: &MachineId,
        record: Option<&ProcessRecord>,
    ) -> Result<Vec<Process>, VmmError> {
        let failed = |pid| move |source| VmmError::Process { action: "look at", pid, source };
        let members = self.cgroups.members(id);
        let mut found = Vec::new();
        if let Some(record) = record {
            // A record from before a reboot of the host may name another's process by chance, so it has to look ours.
            if let Some(process) = Process::find(record).map_err(failed(record.pid))?
                && (members.contains(&record.pid) || self.scanner.carries(record.pid, id).await?)
            {
                found.push(process);
            }
        } else {
            let scan = self.scanner.look().await?;
            for (_, pid) in scan.found().filter(|(machine, _)| machine == id) {
                if let Some(process) = Process::open(*pid).map_err(failed(*pid))?
                    && self.scanner.carries(*pid, id).await?
                {
                    found.push(process);
                }
            }
        }
        for pid in members {
            if found.iter().all(|process| process.record().pid != pid)
                && self.scanner.is_ours(id, pid)
                && let Some(process) = Process::open(pid).map_err(failed(pid))?
                && self.cgroups.members(id).contains(&pid)
            {
                found.push(process);
            }
        }
        Ok(found)
    }

    /// Ends the machine's processes and removes its cgroups.
    pub(crate) async fn end(&self, id: &MachineId, record: Option<&ProcessRecord>) -> Result<(), VmmError> {
        for process in self.processes(id, record).await? {
            let pid = process.record().pid;
            let failed = |source| VmmError::Process { action: "kill", pid, source };
            process.signal(Signal::KILL).map_err(failed)?;
            tokio::time::timeout(DEADLINE, process.gone()).await.map_err(|_| VmmError::Timeout {
                id: id.clone(),
                what: "go after SIGKILL",
                deadline: DEADLINE,
            })?;
        }
        self.cgroups.remove(id).await
    }

    /// Machines that have a process of this server's, or a cgroup without a process of another's.
    pub(crate) async fn strays(&self) -> Result<Vec<MachineId>, VmmError> {
        let scan = self.scanner.look().await?;
        let mut found: BTreeSet<MachineId> = scan.found().map(|(id, _)| id.clone()).collect();
        for id in self.cgroups.machines() {
            let members = self.cgroups.members(&id);
            // Servers in other network namespaces may use the same parent.
            if members.is_empty() || members.iter().any(|pid| self.scanner.is_ours(&id, *pid)) {
                found.insert(id);
            }
        }
        Ok(found.into_iter().collect())
    }
}
