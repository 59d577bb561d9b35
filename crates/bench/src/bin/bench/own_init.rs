//! An image with systemd and Docker: a clone of a machine that was frozen once systemd was up, against a boot of the same image,
//! until Docker answers the job. And what the copy of the frozen machine's disk costs, which each clone of such an image needs.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use fireactions_image::scratch;
use fireactions_model::{ImageRef, InitMode, PullPolicy};
use fireactions_testkit::debian;
use fireactions_vmm::{Drive, Start, VmSpec, Vmm};
use tokio::time::timeout;

use crate::Args;
use crate::guest::{self, Resources};
use crate::snapshot::{answered, mib_on_disk, resources};
use crate::world::World;
use fireactions_bench::report::{Goal, Report, median, millis};

const MEMORY_MIB: u32 = 1024;
/// In a boot, systemd has not made Docker's socket yet, and dockerd answers there once it is up. Before, the command would only
/// take the processor from them.
const DOCKER: &str =
    "until [ -S /run/docker.sock ]; do sleep 0.1; done; until docker ps >/dev/null 2>&1; do sleep 0.5; done";
/// A boot of systemd and dockerd takes minutes under emulation beside other work.
const DEADLINE: Duration = Duration::from_secs(600);

/// Seconds from the start of the process.
struct Times {
    ready: f64,
    docker: f64,
}

/// Reference of the image with systemd and Docker, made where it is not there yet: from packages.
pub(crate) fn image() -> anyhow::Result<ImageRef> {
    Ok(ImageRef::new(debian::image(&debian::SYSTEMD_WITH_DOCKER))?)
}

pub(crate) async fn measure(args: &Args, world: &World, report: &mut Report) -> anyhow::Result<()> {
    report.load("own init");
    let reference = image()?;
    let root = world.images.ensure(&reference, PullPolicy::IfNotPresent, None).await.context("its image")?;
    let bench = Bench { world, root: &root.path };
    let template = world.dir.join("template-own-init");
    let frozen = bench.freeze(&template).await.context("the template")?;

    let (mut boots, mut clones, mut copies) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..args.times(3, 1) {
        boots.push(bench.boot().await.context("boot")?);
        for _ in 0..args.times(3, 2) {
            let (times, copy) = bench.clone(&template).await.context("clone")?;
            clones.push(times);
            copies.push(copy);
        }
    }
    for (what, time, goal) in [
        (
            "Docker's answer to the job",
            (|times| times.docker) as fn(&Times) -> f64,
            Some(Goal::AtLeast(10.0)),
        ),
        ("a machine with its identity", |times| times.ready, None),
    ] {
        let of = |all: &[Times]| median(&all.iter().map(time).collect::<Vec<_>>());
        let (boot, clone) = (of(&boots), of(&clones));
        report.row(format!("systemd + dockerd: clone to {what}"), clone, "s");
        report.row("  boot of the same image", boot, "s");
        match goal {
            Some(goal) => report.judged("  how much faster", boot / clone, "×", goal),
            None => report.row("  how much faster", boot / clone, "×"),
        }
    }
    report.row("systemd + dockerd: copy of the frozen disk, in each clone's time", median(&copies), "ms");
    report.row("  what of the disk is written", mib_on_disk(&template.join("scratch"))?, "MiB");
    report.row("  the frozen memory", mib_on_disk(&template.join("memory"))?, "MiB");
    report.row("systemd + dockerd: template, from the start of its boot until it is kept", frozen, "s");
    report.note(format!(
        "own init: 1 vCPU, {MEMORY_MIB} MiB, QEMU; medians of {} boots and {} clones in turn, from the start of the VMM's process, for \
         clones from the start of the copy of their disk; a machine with its identity is not the same in both: a boot's init has \
         set up its file systems then, a clone's is up",
        boots.len(),
        clones.len(),
    ));
    std::fs::remove_dir_all(&template)?;
    Ok(())
}

struct Bench<'a> {
    world: &'a World,
    root: &'a Path,
}

impl Bench<'_> {
    fn spec(&self, resources: &Resources, start: Start) -> VmSpec {
        let mut spec = resources.spec(self.world, &self.world.boot, InitMode::Image, start);
        self.root.clone_into(&mut spec.drives[0].path);
        // Docker asks the kernel for a dozen of them.
        let modules = self.world.boot.modules.clone();
        spec.drives.extend(modules.map(|path| Drive { id: "modules".into(), path, read_only: true }));
        spec.memory_mib = MEMORY_MIB;
        spec
    }

    /// Boots the image until its init is up, and freezes it; the seconds that took.
    async fn freeze(&self, dir: &Path) -> anyhow::Result<f64> {
        std::fs::create_dir(dir)?;
        let resources = resources(self.world, 0).await?;
        let vmm = self.world.vmm.as_ref();
        let made = async {
            let began = Instant::now();
            let vm = timeout(DEADLINE, vmm.spawn(&self.spec(&resources, Start::Template(dir.to_owned()))))
                .await??;
            let link = resources.link(&vm);
            answered(&link, &vm).await?;
            tokio::select! {
                settled = link.settle(DEADLINE) => settled.context("its init")?,
                exit = vm.exited() => bail!("the machine ended: {exit}\n{}", exit.console_tail),
            }
            timeout(DEADLINE, link.shut()).await.context("the agent's link does not close")?;
            vm.freeze(DEADLINE).await?;
            scratch::keep(&resources.scratch(), dir, crate::snapshot::SCRATCH).await?;
            anyhow::Ok(began.elapsed().as_secs_f64())
        };
        let made = made.await;
        resources.undo(self.world, vmm).await?;
        made
    }

    async fn boot(&self) -> anyhow::Result<Times> {
        let resources = resources(self.world, 0).await?;
        let times = self.run(&resources, Start::Boot, Instant::now()).await;
        resources.undo(self.world, self.world.vmm.as_ref()).await?;
        times
    }

    /// A clone; and how long the copy of its disk took, in milliseconds.
    async fn clone(&self, template: &Path) -> anyhow::Result<(Times, f64)> {
        let resources = resources(self.world, 0).await?;
        let began = Instant::now();
        let copied = scratch::copy(template, &resources.scratch(), resources.owner()).await;
        let copy = millis(began.elapsed());
        let times = match copied {
            Ok(()) => self.run(&resources, Start::Restore(template.to_owned()), began).await,
            Err(error) => Err(error.into()),
        };
        resources.undo(self.world, self.world.vmm.as_ref()).await?;
        Ok((times?, copy))
    }

    /// Starts a machine, gives it its identity, and has a job ask Docker.
    async fn run(&self, resources: &Resources, start: Start, began: Instant) -> anyhow::Result<Times> {
        let spec = self.spec(resources, start);
        let vm = timeout(DEADLINE, self.world.vmm.spawn(&spec)).await.context("the VMM does not start")??;
        let link = resources.link(&vm);
        answered(&link, &vm).await?;
        timeout(DEADLINE, guest::configure(self.world, resources, &link)).await.context("no identity")??;
        let ready = began.elapsed().as_secs_f64();
        timeout(DEADLINE, guest::first_line_after(self.world, &link, DOCKER))
            .await
            .context("no answer of Docker")??;
        Ok(Times { ready, docker: began.elapsed().as_secs_f64() })
    }
}
