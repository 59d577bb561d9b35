//! A clone of a template against a cold boot: how soon its agent answers and its job speaks, and what ten of them
//! take of the host's memory. The same root, kernel, disks and network card; only the start differs.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use fireactions_guest_proto::host::Link;
use fireactions_image::scratch;
use fireactions_model::InitMode;
use fireactions_vmm::boot::BootFiles;
use fireactions_vmm::{Start, Vm, VmSpec, Vmm};
use tokio::time::{sleep, timeout};

use crate::Args;
use crate::guest::{self, Resources};
use crate::world::World;
use fireactions_bench::report::{Goal, Report, median};
use fireactions_bench::usage;

/// A cold boot takes seconds under emulation, and a quarter of a minute where KVM itself only interprets.
const DEADLINE: Duration = Duration::from_secs(180);
/// After its job, a guest still writes back and frees for a moment.
const REST: Duration = Duration::from_secs(3);
/// Of the scratch disks here.
pub(crate) const SCRATCH: scratch::Size = scratch::Size::of(2048);

/// A VMM, and what it boots from.
pub(crate) struct Side<'a> {
    pub(crate) name: &'static str,
    pub(crate) vmm: &'a dyn Vmm,
    pub(crate) boot: &'a BootFiles,
    /// What the kernel needs to be told beside the driver's own arguments.
    pub(crate) kernel_args: String,
}

/// Seconds from the start of the process.
struct Times {
    answer: f64,
    /// It has its identity: disk, names, network.
    ready: f64,
    first_line: f64,
}

/// A point on a machine's way, and what a clone has to gain until there.
type Point = (&'static str, fn(&Times) -> f64, Option<Goal>);

const POINTS: [Point; 3] = [
    ("the agent's answer", |times| times.answer, Some(Goal::AtLeast(20.0))),
    ("a machine with its identity", |times| times.ready, None),
    ("the job's first line", |times| times.first_line, Some(Goal::AtLeast(10.0))),
];

/// A machine as a warm pool keeps it: with its identity, without a job.
struct Machine {
    resources: Resources,
    vm: Vm,
    link: Link,
    began: Instant,
    answer: f64,
    ready: f64,
}

pub(crate) async fn measure(args: &Args, world: &World, report: &mut Report) -> anyhow::Result<()> {
    let qemu = Side { name: "QEMU", vmm: world.vmm.as_ref(), boot: &world.boot, kernel_args: String::new() };
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
    for (what, time, goal) in POINTS {
        let cold = median(&cold.iter().map(time).collect::<Vec<_>>());
        let clone = median(&clones.iter().map(time).collect::<Vec<_>>());
        report.row(format!("{name}: clone to {what}"), clone, "s");
        report.row("  cold boot", cold, "s");
        match goal {
            Some(goal) => report.judged("  how much faster", cold / clone, "×", goal),
            None => report.row("  how much faster", cold / clone, "×"),
        }
    }
    report.row(format!("{name}: template, from the start of its boot until it is frozen"), took, "s");

    let count = args.times(10, 3);
    let clones = memory(world, side, count, restore).await.context("memory of clones")?;
    let cold = memory(world, side, count, || Start::Boot).await.context("memory of cold boots")?;
    for (when, of, goal) in [
        ("ready", (|pss: &Memory| pss.ready) as fn(&Memory) -> f64, Some(Goal::AtMost(30.0))),
        ("after a job of one line", |pss| pss.after_job, None),
    ] {
        let (clones, cold) = (of(&clones), of(&cold));
        report.row(format!("{name}: memory of {count} clones, {when} (sum of PSS)"), clones, "MiB");
        report.row("  of as many cold boots", cold, "MiB");
        let percent = 100.0 * clones / cold;
        match goal {
            Some(goal) => report.judged("  clones in percent of cold boots", percent, "%", goal),
            None => report.row("  clones in percent of cold boots", percent, "%"),
        }
    }
    report.row(format!("{name}: memory of the template itself, held once"), held(&dir)?, "MiB");
    report.note(format!(
        "snapshot, {name}: 1 vCPU, 512 MiB; from the start of the VMM's process, in turn; the template has been read before; \
         memory: all {count} machines live, {REST:?} after the last one came so far"
    ));
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

/// Boots a machine up to the wait for its identity and freezes it; the seconds that took.
async fn template(world: &World, side: &Side<'_>, dir: &Path) -> anyhow::Result<f64> {
    std::fs::create_dir(dir)?;
    let resources = resources(world, 0).await?;
    let made = async {
        let began = Instant::now();
        let vm = spawn(world, side, &resources, Start::Template(dir.to_owned())).await?;
        let link = resources.link(&vm);
        answered(&link, &vm).await?;
        timeout(DEADLINE, link.shut()).await.context("the agent's link does not close")?;
        vm.freeze(DEADLINE).await?;
        anyhow::Ok(began.elapsed().as_secs_f64())
    };
    let made = made.await;
    resources.undo(world, side.vmm).await?;
    made
}

/// What a template's memory takes where it is held, whoever maps it, in MiB.
fn held(template: &Path) -> anyhow::Result<f64> {
    mib_on_disk(&template.join("memory"))
}

/// What a sparse file takes, in MiB.
pub(crate) fn mib_on_disk(file: &Path) -> anyhow::Result<f64> {
    #[expect(clippy::cast_precision_loss, reason = "sizes of files are far below 2^52")]
    let bytes = std::fs::metadata(file)?.blocks() as f64 * 512.0;
    Ok(bytes / f64::from(1 << 20))
}

/// One machine and its job, undone whatever happens.
async fn once(world: &World, side: &Side<'_>, start: Start) -> anyhow::Result<Times> {
    let machine = machine(world, side, 0, start).await?;
    let done = first_line(world, &machine).await;
    let times = done.map(|first_line| Times { answer: machine.answer, ready: machine.ready, first_line });
    machine.resources.undo(world, side.vmm).await?;
    times
}

/// Sums of proportional set sizes in MiB.
struct Memory {
    ready: f64,
    after_job: f64,
}

/// So many machines at once, started one after the other.
async fn memory(
    world: &World,
    side: &Side<'_>,
    count: usize,
    start: impl Fn() -> Start,
) -> anyhow::Result<Memory> {
    let mut machines = Vec::new();
    let measured = async {
        for slot in 0..u32::try_from(count)? {
            machines.push(machine(world, side, slot, start()).await?);
        }
        let sum = async || -> anyhow::Result<f64> {
            sleep(REST).await;
            machines.iter().map(|machine| usage::proportional(machine.vm.process().pid)).sum()
        };
        let ready = sum().await?;
        for machine in &machines {
            first_line(world, machine).await?;
        }
        anyhow::Ok(Memory { ready, after_job: sum().await? })
    };
    let measured = measured.await;
    for machine in machines {
        machine.resources.undo(world, side.vmm).await?;
    }
    measured
}

/// A directory, a tap and a scratch disk.
pub(crate) async fn resources(world: &World, slot: u32) -> anyhow::Result<Resources> {
    let resources = Resources::new(world, slot)?;
    let templates: PathBuf = world.dir.join("scratch");
    scratch::create(&templates, &resources.scratch(), SCRATCH, resources.owner()).await?;
    world.network.attach(&resources.port).await?;
    Ok(resources)
}

/// Starts a machine and gives it its identity. Undoes it when that fails.
async fn machine(world: &World, side: &Side<'_>, slot: u32, start: Start) -> anyhow::Result<Machine> {
    let resources = resources(world, slot).await?;
    let ran = async {
        let began = Instant::now();
        let vm = spawn(world, side, &resources, start).await?;
        let link = resources.link(&vm);
        answered(&link, &vm).await?;
        let answer = began.elapsed().as_secs_f64();
        timeout(DEADLINE, guest::configure(world, &resources, &link)).await.context("no identity")??;
        anyhow::Ok((vm, link, began, answer, began.elapsed().as_secs_f64()))
    };
    match ran.await {
        Ok((vm, link, began, answer, ready)) => Ok(Machine { resources, vm, link, began, answer, ready }),
        Err(error) => {
            resources.undo(world, side.vmm).await?;
            Err(error)
        }
    }
}

/// Has it do a job; the seconds since its start.
async fn first_line(world: &World, machine: &Machine) -> anyhow::Result<f64> {
    timeout(DEADLINE, guest::first_line(world, &machine.link)).await.context("no first line")??;
    Ok(machine.began.elapsed().as_secs_f64())
}

async fn spawn(world: &World, side: &Side<'_>, resources: &Resources, start: Start) -> anyhow::Result<Vm> {
    let spec = VmSpec {
        cmdline_extra: side.kernel_args.clone(),
        ..resources.spec(world, side.boot, InitMode::Agent, start)
    };
    Ok(timeout(DEADLINE, side.vmm.spawn(&spec)).await.context("the VMM does not start")??)
}

pub(crate) async fn answered(link: &Link, vm: &Vm) -> anyhow::Result<()> {
    tokio::select! {
        hello = timeout(DEADLINE, link.hello()) => {
            let console = || std::fs::read_to_string(vm.console()).unwrap_or_default();
            hello.with_context(|| format!("no answer of the agent; console: {}", console()))??;
            Ok(())
        }
        exit = vm.exited() => bail!("the machine ended: {exit}\n{}", exit.console_tail),
    }
}
