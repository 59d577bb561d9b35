//! A machine as a clone of a template; where that fails, it boots instead.

use std::time::Duration;

use fireactions_model::{FailureKind, Phase, PoolSpec, Shape, StartMode, Step};
use fireactions_vmm::{Start, VmSpec};
use tokio::time::timeout;

use crate::boot::{self, Guest};
use crate::create::Made;
use crate::end::End;
use crate::life::Asks;
use crate::metadata;
use crate::parts::Parts;
use crate::place::{HOST_DEADLINE, Place};
use crate::record::Record;
use crate::templates::{Order, Templates};

/// The agent of a clone waits for a connection since before it was frozen: it answers in milliseconds.
const SPEAK_DEADLINE: Duration = Duration::from_secs(15);
const UNDO_DEADLINE: Duration = Duration::from_secs(30);

/// Clones the template if it is there, up to its agent's first word. False when the machine is to boot: the template is
/// not there and is wanted now, or was of no use and is thrown away.
#[expect(clippy::too_many_arguments, reason = "a stage's own, and what it works on")]
pub(crate) async fn restore(
    parts: &Parts,
    templates: &Templates,
    pool: &PoolSpec,
    record: &mut Record,
    asks: &mut Asks,
    made: &mut Made,
    place: &Place,
    order: Order,
    spec: &VmSpec,
) -> Result<bool, End> {
    let Some(directory) = parts.images.template(&order.key) else {
        templates.want(parts, order);
        return Ok(false);
    };
    let mut spec = spec.clone();
    spec.start = Start::Restore(directory);
    spec.metadata = metadata::nobodys(parts, pool);
    match clone(parts, pool, record, asks, made, &spec).await {
        Ok(()) => {
            templates.succeeded(&order.key);
            fail::fail_point!("machine::restored");
            Ok(true)
        }
        Err(Unfit::Machine(end)) => Err(end),
        Err(Unfit::Host(why)) => {
            tracing::warn!(
                machine = %record.id(), pool = %pool.name,
                "the template could not be cloned; the machine boots instead: {why}"
            );
            boot_instead(parts, record, made, place, &order.shape, why).await
        }
        Err(Unfit::Template(why)) => {
            fail::fail_point!("machine::restore-failed");
            tracing::warn!(
                machine = %record.id(), pool = %pool.name, key = order.key.hex(),
                "the template was of no use and is thrown away; the machine boots instead: {why}"
            );
            templates.failed(&order.key);
            if let Err(error) = parts.images.remove_template(&order.key).await {
                tracing::warn!(%error, "a template could not be thrown away");
            }
            boot_instead(parts, record, made, place, &order.shape, why).await
        }
    }
}

/// Makes ready for a boot what the clone was to use. False, as [`restore`] has it.
async fn boot_instead(
    parts: &Parts,
    record: &mut Record,
    made: &mut Made,
    place: &Place,
    shape: &Shape,
    why: String,
) -> Result<bool, End> {
    record.fell_back(why);
    undo(parts, record, made, place, shape).await?;
    fail::fail_point!("machine::restore-undone");
    record.step(Step::Spawn).await?;
    record.restart_clock();
    Ok(false)
}

/// Why there is no clone.
enum Unfit {
    /// The machine ends.
    Machine(End),
    /// The host could not do its part; for people.
    Host(String),
    /// The template did not come to life; for people.
    Template(String),
}

async fn clone(
    parts: &Parts,
    pool: &PoolSpec,
    record: &mut Record,
    asks: &mut Asks,
    made: &mut Made,
    spec: &VmSpec,
) -> Result<(), Unfit> {
    let vm = timeout(HOST_DEADLINE, parts.vmm.spawn(spec))
        .await
        .map_err(|_| Unfit::Template(format!("its VMM process took over {HOST_DEADLINE:?}")))?
        .map_err(|error| {
            let why = error.to_string();
            if error.is_hosts() { Unfit::Host(why) } else { Unfit::Template(why) }
        })?;
    made.vm = Some(vm.clone());
    record.process(&vm, StartMode::Snapshot).await.map_err(Unfit::Machine)?;
    record.phase(Phase::Spawn);
    let link = boot::link(parts, pool, record, &vm).map_err(Unfit::Machine)?;
    made.link = Some(link.clone());
    let guest = Guest { machine: record.id().clone(), vm, link };
    let deadline = SPEAK_DEADLINE.min(pool.deadlines.boot);
    match boot::meet(parts, record, asks, &guest, deadline).await {
        Ok(_) => Ok(()),
        Err(End::Failed(failure)) => Err(Unfit::Template(failure.message)),
        Err(end) => Err(Unfit::Machine(end)),
    }
}

/// Leaves directory and tap (but for one that the driver made), and nothing else of the clone.
async fn undo(
    parts: &Parts,
    record: &Record,
    made: &mut Made,
    place: &Place,
    shape: &Shape,
) -> Result<(), End> {
    let failed = |why: String| End::because(FailureKind::Vmm, why);
    if let Some(link) = made.link.take() {
        link.close();
    }
    let process = match made.vm.take() {
        Some(vm) => {
            vm.kill().await;
            Some(*vm.process())
        }
        // It may have been cut off on the way.
        None => None,
    };
    timeout(UNDO_DEADLINE, parts.vmm.sweep(&place.directory, record.id(), process.as_ref()))
        .await
        .map_err(|_| failed(format!("a clone that failed could not be undone within {UNDO_DEADLINE:?}")))?
        .map_err(|error| failed(format!("a clone that failed could not be undone: {error}")))?;
    if parts.vmm.capabilities().makes_taps {
        // Its own came with the clone; the next process brings another.
        timeout(UNDO_DEADLINE, parts.network.detach(record.id()))
            .await
            .map_err(|_| failed(format!("a clone's tap could not be removed within {UNDO_DEADLINE:?}")))?
            .map_err(|error| failed(format!("a clone's tap could not be removed: {error}")))?;
    }
    place.renew_disk(parts, shape).await
}
