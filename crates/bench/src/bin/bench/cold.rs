//! Cold start: from the start of the VMM process to the first line of the job. The same root, kernel, initramfs,
//! disks, network card and VMM settings; only PID 1 differs.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use fireactions_model::InitMode;
use fireactions_vmm::{Start, Vm, Vmm};
use tokio::time::{sleep, timeout};

use crate::Args;
use crate::guest::{self, Resources};
use crate::seed::{self, BOOT_LINE, FIRST_LINE};
use crate::world::World;
use fireactions_bench::report::{Goal, Report, median};

/// systemd and cloud-init take most of a minute under emulation, and longer beside other work.
const DEADLINE: Duration = Duration::from_secs(600);

/// Seconds from the start of the process.
struct Times {
    first_line: f64,
    /// cloud-init's earliest command.
    bootcmd: Option<f64>,
}

pub(crate) async fn measure(args: &Args, world: &World, report: &mut Report) -> anyhow::Result<()> {
    report.load("cold start");
    let (mut agent, mut cloud, mut bootcmd) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..args.times(3, 1) {
        // Several of ours for each of theirs: they are short, and so more easily disturbed.
        for _ in 0..args.times(3, 1) {
            agent.push(start(world, InitMode::Agent).await?.first_line);
        }
        let times = start(world, InitMode::Image).await?;
        cloud.push(times.first_line);
        bootcmd.extend(times.bootcmd);
    }
    report.row("cold start to the job's first line: fireactions", median(&agent), "s");
    report.row("  systemd + cloud-init, runcmd", median(&cloud), "s");
    report.judged("  how much faster", median(&cloud) / median(&agent), "×", Goal::AtLeast(15.0));
    report.row("  systemd + cloud-init, bootcmd", median(&bootcmd), "s");
    report.row("  how much faster than bootcmd", median(&bootcmd) / median(&agent), "×");
    report.note(format!(
        "cold start: 1 vCPU, 512 MiB, medians of {} and {} starts in turn; both boot the same kernel, initramfs, \
         squashfs and network card with the same QEMU arguments, and differ in fireactions.init=agent|image: in \
         the second case the initramfs mounts the root and executes the image's systemd; cloud-init is told to \
         look at NoCloud only, and its seed is on the scratch disk; accelerator {}",
        agent.len(),
        cloud.len(),
        world.accel,
    ));
    Ok(())
}

/// One start, undone whatever happens.
async fn start(world: &World, init: InitMode) -> anyhow::Result<Times> {
    let resources = Resources::new(world, 0)?;
    let times = timeout(DEADLINE, timed(world, init, &resources)).await;
    resources.undo(world, world.vmm.as_ref()).await?;
    times.with_context(|| format!("no first line after {DEADLINE:?} with init {init:?}"))?
}

async fn timed(world: &World, init: InitMode, resources: &Resources) -> anyhow::Result<Times> {
    seed::disk(&resources.scratch(), &resources.port, &world.network)?;
    world.network.attach(&resources.port).await?;
    let spec = resources.spec(world, &world.boot, init, Start::Boot);
    let began = Instant::now();
    let vm = world.vmm.spawn(&spec).await?;
    let times = tokio::select! {
        times = async { match init {
            InitMode::Agent => by_agent(world, resources, &vm, began).await,
            InitMode::Image => by_console(&vm, began).await,
        }} => times,
        exit = vm.exited() => bail!("the machine ended: {exit}\n{}", exit.console_tail),
    };
    let console = || std::fs::read_to_string(vm.console()).unwrap_or_default();
    times.with_context(|| format!("console: {}", console()))
}

/// The job as the server starts it.
async fn by_agent(world: &World, resources: &Resources, vm: &Vm, began: Instant) -> anyhow::Result<Times> {
    let link = resources.link(vm);
    link.hello().await?;
    guest::configure(world, resources, &link).await?;
    guest::first_line(world, &link).await?;
    let first_line = began.elapsed().as_secs_f64();
    link.close();
    Ok(Times { first_line, bootcmd: None })
}

/// The line as cloud-init writes it to the console.
async fn by_console(vm: &Vm, began: Instant) -> anyhow::Result<Times> {
    let mut bootcmd = None;
    loop {
        let console = std::fs::read(vm.console()).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        let now = began.elapsed().as_secs_f64();
        if bootcmd.is_none() && console.contains(BOOT_LINE) {
            bootcmd = Some(now);
        }
        if console.contains(FIRST_LINE) {
            return Ok(Times { first_line: now, bootcmd });
        }
        sleep(Duration::from_millis(5)).await;
    }
}
