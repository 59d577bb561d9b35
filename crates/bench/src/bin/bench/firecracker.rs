//! Firecracker: what a start costs the host besides Firecracker itself, and, where there is a real one, its clones.
//!
//! With the stand-ins it is the server's own part: the client of the API, the jail's directory, and a jailer that does
//! what the real one does. With the real programs (`FIREACTIONS_FIRECRACKER_BIN`, `FIREACTIONS_JAILER_BIN`) it is the jailer's
//! too; with a kernel for it (`FIREACTIONS_LAB_KERNEL`, and its arguments, `FIREACTIONS_LAB_KERNEL_ARGS`), clones are compared with cold boots as with QEMU.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use fireactions_model::InitMode;
use fireactions_testkit::standin::{self, Guest};
use fireactions_vmm::boot::{self, BootFiles};
use fireactions_vmm::firecracker::{Firecracker, FirecrackerConfig};
use fireactions_vmm::{Start, Vmm};

use crate::Args;
use crate::snapshot::{self, Side};
use crate::world::World;
use fireactions_bench::report::{Report, median, millis};
use fireactions_bench::usage;

pub(crate) async fn measure(args: &Args, world: &World, report: &mut Report) -> anyhow::Result<()> {
    let played = driver(standin::firecracker(Guest::Played), standin::jailer()).await?;
    overhead(args, world, "stand-in", &played, &world.boot, report).await.context("stand-in Firecracker")?;
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let (Some(binary), Some(jailer)) =
        (variable("FIREACTIONS_FIRECRACKER_BIN"), variable("FIREACTIONS_JAILER_BIN"))
    else {
        report.note("Firecracker: no real one was measured; FIREACTIONS_FIRECRACKER_BIN and FIREACTIONS_JAILER_BIN name it");
        return Ok(());
    };
    let Some(kernel) = variable("FIREACTIONS_LAB_KERNEL") else {
        report.note("Firecracker: the real one was not measured, for FIREACTIONS_LAB_KERNEL names no kernel");
        return Ok(());
    };
    let real = driver(binary, jailer).await?;
    let directory = world.dir.join("boot");
    let boot = boot::prepare(&directory, &kernel, None, &args.programs.agent).await?;
    overhead(args, world, "real", &real, &boot, report).await.context("real Firecracker")?;
    let kernel_args = std::env::var("FIREACTIONS_LAB_KERNEL_ARGS").unwrap_or_default();
    let side = Side { name: "Firecracker", vmm: &real, boot: &boot, kernel_args };
    if let Err(error) = snapshot::compare(args, world, &side, report).await {
        // A guest needs a CPU with all that its kernel uses, which KVM on some nested hosts does not give it.
        report.note(format!(
            "Firecracker: clones of the real one could not be measured on this host: {error:#}"
        ));
    }
    Ok(())
}

async fn driver(binary: PathBuf, jailer: PathBuf) -> anyhow::Result<Firecracker> {
    let config = FirecrackerConfig {
        binary,
        jailer: Some(jailer),
        cgroup_parent: Some("fireactions-bench".into()),
        ..FirecrackerConfig::default()
    };
    Ok(Firecracker::new(config).await?)
}

/// Processor time from the call that starts a machine until its guest runs, of this process and of the jailer, which has
/// ended by then.
async fn overhead(
    args: &Args,
    world: &World,
    name: &str,
    vmm: &dyn Vmm,
    boot: &BootFiles,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (mut own, mut jailer, mut wall) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..args.times(30, 5) {
        let resources = snapshot::resources(world, 0).await?;
        let spec = resources.spec(world, boot, InitMode::Agent, Start::Boot);
        let (before, began) = (usage::cpu_apart()?, Instant::now());
        let started = vmm.spawn(&spec).await;
        let (after, took) = (usage::cpu_apart()?, began.elapsed());
        resources.undo(world, vmm).await?;
        started?;
        own.push(millis(after.0.saturating_sub(before.0)));
        jailer.push(millis(after.1.saturating_sub(before.1)));
        wall.push(millis(took));
    }
    let both: Vec<f64> = own.iter().zip(&jailer).map(|(own, jailer)| own + jailer).collect();
    report.row(format!("Firecracker ({name}), one start: CPU of client and jail p50"), median(&both), "ms");
    report.row("  the server's part: jail, API", median(&own), "ms");
    report.row("  the jailer", median(&jailer), "ms");
    report.row("  wall until the guest runs", median(&wall), "ms");
    Ok(())
}
