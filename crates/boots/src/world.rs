//! What all guests share: boot files, root, driver, taps, and the template that clones come from.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use fireactions_guest_proto::host::{Endpoint, Link};
use fireactions_model::{GuestSetup, Hardware, InitMode, MachineId};
use fireactions_vmm::accel::{Accel, Choice};
use fireactions_vmm::boot::{self, BootFiles};
use fireactions_vmm::qemu::{Qemu, QemuConfig};
use fireactions_vmm::{AgentEndpoint, Drive, Nic, Start, Vm, VmSpec, Vmm};

use crate::{Arguments, Mode, evidence};

/// The guests' user; nothing else on a host runs as it.
const USER: u32 = 64_124;

/// Enough for the agent.
const MEMORY_MIB: u32 = 128;

/// Size of a scratch disk.
const SCRATCH: &str = "64M";

/// Freezing writes less than a hundred MiB.
const FREEZE_DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) arguments: Arguments,
    pub(crate) qemu: Qemu,
    dir: tempfile::TempDir,
    boot: BootFiles,
    template: Option<PathBuf>,
    stopping: AtomicBool,
    /// Those that nobody has; the one that has rested longest is first, for newer versions of QEMU let go of theirs a while
    /// after their end (io_uring).
    taps: Mutex<VecDeque<String>>,
}

impl World {
    /// With taps for so many guests at once. This process's network namespace should be its own.
    pub(crate) async fn new(arguments: Arguments, jobs: u32) -> anyhow::Result<Self> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "root is needed for taps and cgroups: run 'scripts/boots'"
        );
        let dir = tempfile::Builder::new().prefix("fireactions-boots-").tempdir()?;
        let modules = std::fs::read_dir(arguments.kernel.join("lib/modules"))
            .with_context(|| format!("{} has no lib/modules: run 'make setup'", arguments.kernel.display()))?
            .next()
            .context("lib/modules is empty: run 'make setup'")??
            .path();
        let kernel = arguments.kernel.join("vmlinuz");
        let boot = boot::prepare(&dir.path().join("boot"), &kernel, Some(&modules), &arguments.agent).await?;
        run(Command::new("mke2fs")
            .args(["-q", "-t", "ext4", "-O", "^has_journal"])
            .arg(dir.path().join("scratch.ext4"))
            .arg(SCRATCH))?;
        // For debuggers of guests that hang.
        run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
        let taps: VecDeque<String> = (0..2 * jobs).map(|number| format!("boots{number}")).collect();
        for tap in &taps {
            run(Command::new("ip").args(["tuntap", "add", "dev", tap, "mode", "tap"]))?;
            run(Command::new("ip").args(["link", "set", tap, "up"]))?;
        }
        let choice = Choice { accel: Accel::Tcg, why: "emulation is what is looked at".to_owned() };
        let qemu = Qemu::new(QemuConfig {
            binary: arguments.qemu.clone(),
            cgroup_parent: Some("fireactions-boots".to_owned()),
            ..QemuConfig::new(choice)
        });
        let mut world = Self {
            arguments,
            qemu,
            dir,
            boot,
            template: None,
            stopping: AtomicBool::new(false),
            taps: Mutex::new(taps),
        };
        if world.arguments.mode == Mode::Clones {
            world.template = Some(world.freeze().await.context("cannot make the template")?);
        }
        Ok(world)
    }

    /// A machine with a run directory, a scratch disk and a tap of its own.
    pub(crate) fn spec(&self) -> anyhow::Result<VmSpec> {
        self.machine(self.template.clone().map_or(Start::Boot, Start::Restore))
    }

    fn machine(&self, start: Start) -> anyhow::Result<VmSpec> {
        let id = MachineId::from_random(rand::random());
        let run_dir = self.dir.path().join(id.as_str());
        std::fs::create_dir(&run_dir)?;
        let scratch = run_dir.join("scratch.ext4");
        run(Command::new("cp")
            .arg("--sparse=always")
            .arg(self.dir.path().join("scratch.ext4"))
            .arg(&scratch))?;
        let drive = |id: &str, path, read_only| Drive { id: id.to_owned(), path, read_only };
        let tap = self.taps.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let tap = tap.context("there are more guests than taps")?;
        let mac = [2, 0, 0, 0, 0, 1];
        Ok(VmSpec {
            id,
            boot: self.boot.clone(),
            cmdline_extra: self.arguments.append.clone(),
            vcpus: 1,
            memory_mib: MEMORY_MIB,
            drives: vec![drive("root", self.arguments.root.clone(), true), drive("scratch", scratch, false)],
            nics: vec![Nic { tap, mac, bandwidth_mbit: None }],
            run_dir,
            uid: USER,
            gid: USER,
            console_max: 256 << 10,
            init: InitMode::Agent,
            start,
            guest: GuestSetup::default(),
            hardware: Hardware::default(),
            metadata: None,
        })
    }

    /// Ends the machine, if it still runs, and removes what there is of it.
    pub(crate) async fn remove(&self, spec: &VmSpec) -> anyhow::Result<()> {
        if self.arguments.consoles {
            std::fs::create_dir_all(&self.arguments.keep)?;
            let kept = self.arguments.keep.join(format!("{}.console", spec.id));
            std::fs::copy(spec.run_dir.join("console.log"), kept)?;
        }
        self.qemu.sweep(&spec.run_dir, &spec.id, None).await?;
        let taps = spec.nics.iter().map(|nic| nic.tap.clone());
        self.taps.lock().unwrap_or_else(PoisonError::into_inner).extend(taps);
        std::fs::remove_dir_all(&spec.run_dir)?;
        Ok(())
    }

    /// Starts no guest any more.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub(crate) fn deadline(&self) -> Duration {
        Duration::from_secs(self.arguments.deadline)
    }

    async fn freeze(&self) -> anyhow::Result<PathBuf> {
        let dir = self.dir.path().join("template");
        std::fs::create_dir(&dir)?;
        let spec = self.machine(Start::Template(dir.clone()))?;
        let vm = self.qemu.spawn(&spec).await?;
        let link = link(&vm)?;
        let hello = tokio::time::timeout(self.deadline(), link.hello()).await;
        link.shut().await;
        let Ok(hello) = hello else {
            let kept = evidence::collect(&self.arguments, &spec, &vm, "template").await;
            self.remove(&spec).await?;
            bail!("the guest to be frozen hung; {}", kept.display());
        };
        hello?;
        vm.freeze(FREEZE_DEADLINE).await?;
        self.remove(&spec).await?;
        Ok(dir)
    }
}

/// To the machine's agent.
pub(crate) fn link(vm: &Vm) -> anyhow::Result<Link> {
    match vm.agent() {
        AgentEndpoint::Dial(path) => Ok(Link::open(Endpoint::Dial(path), "boots")),
        AgentEndpoint::Listen { .. } => bail!("QEMU's agents are dialled"),
    }
}

/// Runs a program to its end.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let program = Path::new(command.get_program()).display().to_string();
    let output = command.output().with_context(|| format!("cannot start {program}; run 'make setup'"))?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
