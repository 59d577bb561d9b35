//! A clone of a template against a cold boot: how soon its agent answers and its job speaks, and what ten of them
//! take of the host's memory. The same root, kernel, disks and network card; only the start differs.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use fireactions_guest_proto::host::Link;
use fireactions_image::scratch;
use fireactions_model::InitMode;
use fireactions_vmm::boot::BootFiles;
use fireactions_vmm::{Start, Vm, Vmm};
use tokio::time::{sleep, timeout};

use crate::Args;
use crate::common::usage;
use crate::guest::{self, Place};
use crate::report::{Goal, Report, median};
use crate::world::World;

/// A cold boot takes seconds under emulation, and a quarter of a minute where KVM itself only interprets.
const DEADLINE: Duration = Duration::from_secs(180);
/// Until a connection that was closed has been noticed by the guest, which must be connected to nobody when it is frozen.
const ALONE: Duration = Duration::from_millis(500);
/// After its job, a guest still writes back and frees for a moment.
const REST: Duration = Duration::from_secs(3);
const SCRATCH_MIB: u32 = 2048;

/// A VMM, and what it boots from.
pub(crate) struct Side<'a> {
    pub(crate) name: &'static str,
    pub(crate) vmm: &'a dyn Vmm,
    pub(crate) boot: &'a BootFiles,
}

/// Seconds from the start of the process.
struct Times {
    answer: f64,
    first_line: f64,
}

/// A machine after its job.
struct Machine {
    place: Place,
    vm: Vm,
    _link: Link,
    times: Times,
}

pub(crate) async fn measure(args: &Args, world: &World, report: &mut Report) -> anyhow::Result<()> {
    let qemu = Side { name: "QEMU", vmm: world.vmm.as_ref(), boot: &world.boot };
    compare(args, world, &qemu, report).await
}

pub(crate) async fn compare(
    args: &Args,
    world: &World,
    side: &Side<'_>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let name = side.name;
    report.load("snapshot");
    ensure!(side.vmm.capabilities().snapshot, "{name} has no snapshots on this host");
    let dir = world.dir.join(format!("template-{name}"));
    let took = template(world, side, &dir).await.context("the template")?;
    let restore = || Start::Restore(dir.clone());

    let (mut cold, mut clones) = (Vec::new(), Vec::new());
    for _ in 0..args.times(5, 1) {
        cold.push(once(world, side, Start::Boot).await.context("cold boot")?);
        for _ in 0..args.times(3, 2) {
            clones.push(once(world, side, restore()).await.context("clone")?);
        }
    }
    for (what, time, goal) in [
        ("the agent's answer", (|times: &Times| times.answer) as fn(&Times) -> f64, 20.0),
        ("the job's first line", |times: &Times| times.first_line, 10.0),
    ] {
        let cold = median(&cold.iter().map(time).collect::<Vec<_>>());
        let clone = median(&clones.iter().map(time).collect::<Vec<_>>());
        report.row(format!("{name}: clone to {what}"), clone, "s");
        report.row("  cold boot", cold, "s");
        report.judged("  how much faster", cold / clone, "×", Goal::AtLeast(goal));
    }
    report.row(format!("{name}: template, from the start of its boot until it is frozen"), took, "s");

    let count = args.times(10, 3);
    let clones = memory(world, side, count, restore).await.context("memory of clones")?;
    let cold = memory(world, side, count, || Start::Boot).await.context("memory of cold boots")?;
    report.row(format!("{name}: memory of {count} clones (sum of PSS)"), clones, "MiB");
    report.row(format!("  of {count} cold boots"), cold, "MiB");
    report.judged("  clones in percent of cold boots", 100.0 * clones / cold, "%", Goal::AtMost(30.0));
    report.note(format!(
        "snapshot, {name}: 1 vCPU, 512 MiB; from the start of the VMM's process, in turn; the template's files are in the \
         page cache; memory: all {count} machines live and have done a job of one line, {REST:?} before"
    ));
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

/// Boots a machine up to the wait for its identity and freezes it; the seconds that took.
async fn template(world: &World, side: &Side<'_>, dir: &Path) -> anyhow::Result<f64> {
    std::fs::create_dir(dir)?;
    let place = place(world, 0).await?;
    let made = async {
        let began = Instant::now();
        let vm = spawn(world, side, &place, Start::Template(dir.to_owned())).await?;
        let link = place.link(&vm);
        answered(&link, &vm).await?;
        link.close();
        sleep(ALONE).await;
        vm.freeze(DEADLINE).await?;
        anyhow::Ok(began.elapsed().saturating_sub(ALONE).as_secs_f64())
    };
    let made = made.await;
    place.undo(world, side.vmm).await?;
    made
}

/// One machine, undone whatever happens.
async fn once(world: &World, side: &Side<'_>, start: Start) -> anyhow::Result<Times> {
    let place = place(world, 0).await?;
    match run(world, side, place, start).await {
        Ok(machine) => {
            machine.place.undo(world, side.vmm).await?;
            Ok(machine.times)
        }
        Err((place, error)) => {
            place.undo(world, side.vmm).await?;
            Err(error)
        }
    }
}

/// So many machines at once, one started after the other; the sum of their proportional set sizes in MiB.
async fn memory(
    world: &World,
    side: &Side<'_>,
    count: usize,
    start: impl Fn() -> Start,
) -> anyhow::Result<f64> {
    let mut machines = Vec::new();
    let mut failed = None;
    for slot in 0..u32::try_from(count)? {
        match run(world, side, place(world, slot).await?, start()).await {
            Ok(machine) => machines.push(machine),
            Err((place, error)) => {
                place.undo(world, side.vmm).await?;
                failed = Some(error);
                break;
            }
        }
    }
    sleep(REST).await;
    let sum: anyhow::Result<f64> =
        machines.iter().map(|machine| usage::proportional(machine.vm.process().pid)).sum();
    for machine in machines {
        machine.place.undo(world, side.vmm).await?;
    }
    match failed {
        Some(error) => Err(error),
        None => sum,
    }
}

/// A directory, a tap and a scratch disk.
async fn place(world: &World, slot: u32) -> anyhow::Result<Place> {
    let place = Place::new(world, slot)?;
    let templates: PathBuf = world.dir.join("scratch");
    scratch::create(&templates, &place.scratch(), SCRATCH_MIB, place.owner()).await?;
    world.network.attach(&place.port).await?;
    Ok(place)
}

/// Starts a machine and has it do a job.
async fn run(
    world: &World,
    side: &Side<'_>,
    place: Place,
    start: Start,
) -> Result<Machine, (Place, anyhow::Error)> {
    let ran = async {
        let began = Instant::now();
        let vm = spawn(world, side, &place, start).await?;
        let link = place.link(&vm);
        answered(&link, &vm).await?;
        let answer = began.elapsed().as_secs_f64();
        timeout(DEADLINE, guest::first_line(world, &place, &link)).await.context("no first line")??;
        let times = Times { answer, first_line: began.elapsed().as_secs_f64() };
        anyhow::Ok((vm, link, times))
    };
    match ran.await {
        Ok((vm, link, times)) => Ok(Machine { place, vm, _link: link, times }),
        Err(error) => Err((place, error)),
    }
}

async fn spawn(world: &World, side: &Side<'_>, place: &Place, start: Start) -> anyhow::Result<Vm> {
    let spec = place.spec(world, side.boot, InitMode::Agent, start);
    Ok(timeout(DEADLINE, side.vmm.spawn(&spec)).await.context("the VMM does not start")??)
}

async fn answered(link: &Link, vm: &Vm) -> anyhow::Result<()> {
    tokio::select! {
        hello = timeout(DEADLINE, link.hello()) => {
            let console = || std::fs::read_to_string(vm.console()).unwrap_or_default();
            hello.with_context(|| format!("no answer of the agent; console: {}", console()))??;
            Ok(())
        }
        exit = vm.exited() => bail!("the machine ended: {exit}\n{}", exit.console_tail),
    }
}
