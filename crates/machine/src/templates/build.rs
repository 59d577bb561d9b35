//! One template: a machine without a row is booted until its agent waits for an identity and, where the image has an init
//! of its own, until that has come up; then it is frozen. An init of its own has written to the scratch disk: that is a part
//! of the template then, too.

use std::time::{Duration, Instant};

use fireactions_guest_proto::GuestState;
use fireactions_guest_proto::host::{Link, LinkOptions};
use fireactions_image::{ImageError, TemplateInfo};
use fireactions_model::{ExponentialBackoff, InitMode, MachineId, NetworkPolicy};
use fireactions_vmm::Start;
use tokio::time::timeout;

use super::order::Order;
use crate::parts::Parts;
use crate::resources::{HOST_DEADLINE, Resources};
use crate::undo::undo;
use crate::{guest, metadata};

/// An agent that answered closes its connection at once.
const SHUT_DEADLINE: Duration = Duration::from_secs(5);
/// Nobody waits for a template, and an image's init may have much to do.
const SETTLE_DEADLINE: Duration = Duration::from_secs(300);
/// What the guest gets beyond its own deadline to say what it waited for.
const ANSWER: Duration = Duration::from_secs(10);
/// A frozen guest is written at this rate at least, in MiB a second, once the first ten seconds are over.
const SLOWEST_DISK: u32 = 32;
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How it went.
pub(super) enum BuildResult {
    /// The template is there.
    Made(TemplateInfo),
    /// The pools need the room.
    Crowded,
    /// The server ends.
    Closed,
    /// Its image was removed, so nobody is cloned from it.
    NoImage,
    /// Its guest found no timer, by chance; for people.
    NoTimer(String),
    /// It could not be made; for people.
    Failed(String),
}

impl From<String> for BuildResult {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

/// Makes a template, and undoes the machine that it took, whatever happens. Ends early when `stop` returns: true for
/// the server's end.
pub(super) async fn build(parts: &Parts, order: &Order, stop: impl Future<Output = bool>) -> BuildResult {
    let making = match parts.images.begin_template(&order.key, &order.image).await {
        Ok(making) => making,
        Err(ImageError::Unknown(_)) => return BuildResult::NoImage,
        Err(error) => return BuildResult::Failed(error.to_string()),
    };
    fail::fail_point!("machine::template-begun");
    let id = MachineId::from_random(rand::random());
    tracing::debug!(machine = %id, pool = %order.pool.name, key = order.key.hex(), "a template is being made");
    let began = Instant::now();
    let frozen = tokio::select! {
        frozen = freeze(parts, order, &id, making.dir()) => frozen,
        closed = stop => Err(if closed { BuildResult::Closed } else { BuildResult::Crowded }),
    };
    fail::fail_point!("machine::template-frozen");
    undone(parts, &id).await;
    fail::fail_point!("machine::template-undone");
    if let Err(mut outcome) = frozen {
        if matches!(outcome, BuildResult::Failed(_)) && !making.has_image().await {
            outcome = BuildResult::NoImage;
        }
        if let Err(error) = making.abandon().await {
            tracing::debug!(%error, "an unfinished template is left for the next start");
        }
        return outcome;
    }
    let made_of = serde_json::to_value(&order.ingredients).unwrap_or_default();
    match making.publish(made_of).await {
        Ok(info) => {
            fail::fail_point!("machine::template-published");
            tracing::debug!(took = ?began.elapsed(), key = order.key.hex(), "template published");
            BuildResult::Made(info)
        }
        Err(ImageError::Unknown(_)) => BuildResult::NoImage,
        Err(error) => BuildResult::Failed(error.to_string()),
    }
}

async fn freeze(
    parts: &Parts,
    order: &Order,
    id: &MachineId,
    dir: &std::path::Path,
) -> Result<(), BuildResult> {
    let Order { pool, shape, root, boot: files, .. } = order;
    let own_init = pool.init == InitMode::Image;
    let resources = Resources::new(parts, id, parts.network.capacity() - 1).map_err(|end| end.to_string())?;
    in_use_by(parts, &resources).await?;
    let late = || format!("its directory, scratch disk and network took over {HOST_DEADLINE:?}");
    timeout(HOST_DEADLINE, resources.make_directory())
        .await
        .map_err(|_| late())?
        .map_err(|end| end.to_string())?;
    // The guest has no address yet, so this opens nothing.
    let policy = NetworkPolicy::default();
    let attach = async {
        // A tap that comes with the process needs no slot: the guest never uses it.
        if parts.vmm.capabilities().makes_taps { Ok(()) } else { resources.attach(parts, &policy).await }
    };
    let (disk, net) =
        timeout(HOST_DEADLINE, async { tokio::join!(resources.make_disk(parts, pool, shape), attach) })
            .await
            .map_err(|_| late())?;
    disk.map_err(|end| end.to_string())?;
    resources.make_sticky(parts, pool, true).await.map_err(|end| end.to_string())?;
    net.map_err(|end| end.to_string())?;
    fail::fail_point!("machine::template-placed");

    let mut spec = resources.spec(parts, pool, shape, root, files.clone());
    spec.start = Start::Template(dir.to_owned());
    spec.metadata = metadata::nobodys(parts, pool);
    let vm = timeout(HOST_DEADLINE, parts.vmm.spawn(&spec))
        .await
        .map_err(|_| format!("its VMM process took over {HOST_DEADLINE:?}"))?
        .map_err(|error| format!("its VMM process: {error}"))?;
    fail::fail_point!("machine::template-spawned");
    // It is never given an identity, so it has nothing to prove itself with, and nothing to give away.
    let options = LinkOptions { silence: pool.deadlines.silence, ..LinkOptions::default() };
    let link = Link::open_with(guest::endpoint(&vm), id.to_string(), options);
    let hello = tokio::select! {
        hello = timeout(pool.deadlines.boot, link.hello()) => hello
            .map_err(|_| format!("its agent did not speak within {:?}", pool.deadlines.boot))?
            .map_err(|error| format!("its agent: {error}"))?,
        exit = vm.exited() => {
            let why = format!("its VMM process ended: {exit}");
            return Err(if exit.no_timer() { BuildResult::NoTimer(why) } else { why.into() });
        }
    };
    if hello.state != GuestState::Idle {
        return Err(format!("its agent does not wait for an identity: {:?}", hello.state).into());
    }
    if own_init {
        tokio::select! {
            settled = timeout(SETTLE_DEADLINE + ANSWER, link.settle(SETTLE_DEADLINE)) => settled
                .map_err(|_| format!("its agent did not say within {SETTLE_DEADLINE:?} whether the image's init is up"))?
                .map_err(|error| format!("the image's init: {error}"))?,
            exit = vm.exited() => return Err(format!("its VMM process ended: {exit}").into()),
        }
    }
    timeout(SHUT_DEADLINE, link.shut())
        .await
        .map_err(|_| "the link to its agent does not close".to_owned())?;
    fail::fail_point!("machine::template-idle");
    let deadline = Duration::from_secs(10 + u64::from(shape.memory_mib / SLOWEST_DISK));
    vm.freeze(deadline).await.map_err(|error| error.to_string())?;
    if own_init {
        fail::fail_point!("machine::template-own-frozen");
        resources.keep_disk(dir, pool, shape).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Machines of an earlier version, or of a larger subnet, may have the slot that is the template's.
async fn in_use_by(parts: &Parts, resources: &Resources) -> Result<(), String> {
    let rows = parts.store.machines().await.map_err(|e| format!("the machines could not be read: {e}"))?;
    match rows.iter().find(|row| row.slot == resources.slot) {
        Some(row) => Err(format!("machine {} has the network's last slot", row.id)),
        None => Ok(()),
    }
}

/// Undoes the machine, again and again until it works: nobody may have its slot before.
async fn undone(parts: &Parts, id: &MachineId) {
    let mut pauses = ExponentialBackoff::new(Duration::from_millis(200), LONGEST_PAUSE);
    while let Err(error) = undo(parts, id, None).await {
        tracing::error!(machine = %id, "a template's machine: {error}; trying again");
        tokio::time::sleep(pauses.failed(rand::random())).await;
    }
}
