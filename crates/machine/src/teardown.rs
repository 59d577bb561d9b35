//! Everything undone, in reverse. Each step is idempotent and tried again until it works: a machine that cannot be
//! undone keeps its row, so that nothing it holds is given to another.

use std::path::Path;
use std::time::Duration;

use fireactions_model::{Failure, MachineId, Phase, PoolSpec};
use fireactions_vmm::ProcessRecord;
use tokio::time::timeout;

use crate::create::Made;
use crate::parts::Parts;
use crate::record::Record;

const STEP_DEADLINE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Undoes a machine that this server made, and removes its row.
pub(crate) async fn teardown(
    parts: &Parts,
    pool: &PoolSpec,
    record: &mut Record,
    made: Made,
    failure: Option<Failure>,
) {
    record.restart_clock();
    record.stopping(failure).await;
    if let Some(vm) = &made.vm {
        // The scratch disk goes with the machine, so nothing in the guest is worth waiting for: a guest that is
        // asked and does not end at once is killed.
        if let Some(link) = &made.link {
            let _ = timeout(Duration::from_millis(200), link.power_off()).await;
        }
        if timeout(pool.deadlines.shutdown, vm.exited()).await.is_err() {
            vm.kill().await;
        }
    }
    if let Some(link) = &made.link {
        link.close();
    }
    let process = made.vm.as_ref().map(|vm| *vm.process());
    let mut pause = Duration::from_millis(200);
    loop {
        match undo(parts, record.id(), process.as_ref()).await {
            Ok(()) => match record.remove().await {
                Ok(()) => break,
                Err(error) => {
                    tracing::error!(machine = %record.id(), %error, "the machine's row could not be removed; trying again");
                }
            },
            Err(error) => {
                tracing::error!(machine = %record.id(), "teardown: {error}; trying again in {pause:?}");
            }
        }
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    fail::fail_point!("machine::row-gone");
    record.phase(Phase::Teardown);
    if let Some(job) = record.view().job.clone() {
        let told = timeout(STEP_DEADLINE, parts.forge.undone(&job, record.id(), &record.phases())).await;
        if !matches!(told, Ok(Ok(()))) {
            tracing::debug!(%job, "the forge did not take the teardown's time");
        }
    }
}

/// Process, sockets, cgroup, tap, rules, directory: gone, whether or not they were ever there.
pub(crate) async fn undo(
    parts: &Parts,
    id: &MachineId,
    process: Option<&ProcessRecord>,
) -> Result<(), String> {
    let directory = parts.settings.machine_dir(id);
    step("the VMM process", parts.vmm.sweep(&directory, id, process)).await?;
    fail::fail_point!("machine::undo-process");
    // The tap can only go once the process that holds it is gone; the directory likewise.
    let (net, disk) = tokio::join!(
        step("the network", parts.network.detach(id)),
        step("the run directory", remove_directory(&directory)),
    );
    fail::fail_point!("machine::undo-rest");
    net.and(disk)
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

async fn remove_directory(path: &Path) -> std::io::Result<()> {
    match tokio::fs::remove_dir_all(path).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
