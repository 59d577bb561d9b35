//! The driver for Firecracker: a process per machine, in the jailer's hands, spoken to through its [`api`].
//!
//! ```text
//! jail made and filled ─▶ cgroups ─▶ jailer ─▶ Firecracker ─▶ requests ─▶ InstanceStart, or load and resume
//! ```
//!
//! What a machine has on the host's filesystem is described in `jail.rs`.

pub mod api;
mod cmdline;
mod config;
mod control;
mod jail;
mod machine;
mod mounted;
mod names;
mod snapshot;
mod start;
mod telemetry;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fireactions_model::MachineId;
use rustix::process::Pid;
use tokio::sync::OnceCell;

pub use config::{FirecrackerConfig, is_static};
pub use mounted::unfit_for_jails;

use crate::accel::{self, Accel};
use crate::cgroup::{Cgroups, DiskLimit, Limits};
use crate::child::User;
use crate::in_place::in_place;
use crate::log::Log;
use crate::process::Process;
use crate::remains::Remains;
use crate::scan::Scanner;
use crate::{
    Capabilities, ExitReason, ProcessRecord, Start, Vm, VmSpec, Vmm, VmmError, apart, cpu, orphans, spec,
};
use api::{ApiError, Client, Feature};
use config::Installed;
use control::{FirecrackerControl, Template};
use jail::Jail;
use names::{INITRD, KERNEL, image};
use start::Setting;
use telemetry::Telemetry;

/// From the start of the process until it answers on its API socket: milliseconds, on a host that is not full.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// How long a VMM whose connection broke may take to be seen dead.
const DEATH_DEADLINE: Duration = Duration::from_secs(2);

/// MiB that Firecracker may use beside the guest's memory: 5 for itself, the rest for the pages of its files that the kernel
/// counts as its own while it reads and writes them.
const OVERHEAD_MIB: u64 = 192;

/// Threads and processes of Firecracker beside one for each virtual CPU: two of its own, and as many workers of the kernel's as
/// an asynchronous disk may start.
const OTHER_TASKS: u64 = 126;

/// The driver.
#[derive(Debug)]
pub struct Firecracker {
    installed: Installed,
    remains: Remains,
    /// New VMMs have a network namespace of their own.
    apart: bool,
}

impl Firecracker {
    /// For machines whose taps are in the calling thread's network namespace. Asks both programs for their versions,
    /// looks at the host's cgroups and says in the log what it cannot limit.
    ///
    /// Fails when a program is missing, too old, not of the other's version, or not fit for a jail, and says what to install.
    ///
    /// With a jailer the whole process becomes the parent of what its children leave behind (`PR_SET_CHILD_SUBREAPER`): the
    /// jailer ends and leaves Firecracker.
    pub async fn new(config: FirecrackerConfig) -> Result<Self, VmmError> {
        let installed = Installed::look(&config).await?;
        if let Some(jailer) = &installed.jailer {
            let failed = |error: rustix::io::Errno| VmmError::Unusable {
                program: jailer.clone(),
                why: format!("this process cannot become the parent of its orphans: {error}"),
            };
            rustix::process::set_child_subreaper(Pid::from_raw(1)).map_err(failed)?;
            orphans::reap_for_ever();
        }
        let cgroups = config.cgroup_parent.as_deref().map(Cgroups::detect).unwrap_or_default();
        for (name, usable) in ["memory", "cpu", "pids"].iter().zip(cgroups.usable()) {
            if !usable && config.cgroup_parent.is_some() {
                tracing::warn!(
                    controller = name,
                    "no writable cgroup hierarchy: machines run without this limit"
                );
            }
        }
        let apart = config.apart.is_some() && apart::can();
        let scanner = Scanner::new(cmdline::marked, config.apart);
        Ok(Self { installed, remains: Remains { cgroups, scanner }, apart })
    }

    /// Firecracker's version in its own words, such as `1.16.1`.
    pub fn version(&self) -> &str {
        &self.installed.build
    }

    fn refuse(spec: &VmSpec, reason: impl Into<String>) -> VmmError {
        VmmError::Spec { id: spec.id.clone(), reason: reason.into() }
    }

    fn limits(spec: &VmSpec) -> Limits {
        Limits {
            memory: Limits::memory_of(spec.memory_mib, OVERHEAD_MIB),
            // Half a core more than the guest has, for Firecracker's own threads.
            millicores: u64::from(spec.vcpus) * 1000 + 500,
            tasks: u64::from(spec.vcpus) + OTHER_TASKS,
            disk: spec
                .drives
                .iter()
                .find(|drive| !drive.read_only)
                .and_then(|drive| DiskLimit::of(spec.hardware.disk_limits, &drive.path)),
        }
    }

    /// Whom Firecracker runs as; `None` when the server cannot choose.
    fn user(&self, spec: &VmSpec) -> Option<User> {
        // The jailer makes a /dev/kvm for this user; without it the host's own has to let the user in.
        let shared = if self.installed.jailer.is_some() { None } else { accel::device_group(Accel::Kvm) };
        let user = User { uid: spec.uid, gid: shared.unwrap_or(spec.gid) };
        rustix::process::geteuid().is_root().then_some(user)
    }

    /// Puts into the jail what Firecracker opens, and gives the size of the largest file that it may write.
    fn fill(spec: &VmSpec, jail: &Jail, user: Option<User>) -> Result<u64, VmmError> {
        match &spec.start {
            Start::Boot | Start::Template(_) => {
                jail.share("open the kernel", &spec.boot.kernel, KERNEL)?;
                jail.share("open the initramfs", &spec.boot.initrd, INITRD)?;
            }
            Start::Restore(template) => snapshot::hand_in(jail, template)?,
        }
        // Its memory is written into a file by a freeze, and is one in memory where it is shared.
        let mut largest = u64::from(spec.memory_mib) << 20;
        for drive in &spec.drives {
            let name = image(&drive.id);
            if drive.read_only {
                jail.share("open the drive", &drive.path, &name)?;
            } else {
                largest = largest.max(std::fs::metadata(&drive.path).map_or(0, |meta| meta.len()));
                jail.hand_over("open the drive", &drive.path, &name, user)?;
            }
        }
        Ok(largest)
    }

    async fn launch(&self, spec: &VmSpec) -> Result<Vm, VmmError> {
        let kernel_line = cmdline::kernel_line(spec).map_err(|reason| Self::refuse(spec, reason))?;
        let user = self.user(spec);
        let jail = Jail::new(&spec.run_dir, self.installed.name(), &spec.id);
        jail.make(user)?;
        let largest_file = Self::fill(spec, &jail, user)?;
        let telemetry = Telemetry::open(&jail, spec.console_max, false);
        let cgroups = in_place(|| self.remains.cgroups.prepare(&spec.id, Self::limits(spec)))?;
        let setting = Setting {
            spec,
            jail: &jail,
            user,
            cgroups,
            unified_parent: self.remains.cgroups.unified_parent(),
            apart: self.apart,
            largest_file,
        };
        let (process, log, taps) = start::start(&self.installed, setting).await?;
        let template = match &spec.start {
            Start::Template(dir) => Some(Template { dir: dir.clone(), memory_mib: spec.memory_mib }),
            Start::Boot | Start::Restore(_) => None,
        };
        let watch = |source| VmmError::Process { action: "watch", pid: process.record().pid, source };
        let Some(second) = Process::find(process.record()).map_err(watch)? else {
            let cause = process.ended().await;
            telemetry.drain().await;
            let log = crate::console::printable(&log.read());
            return Err(VmmError::Died { id: spec.id.clone(), cause, log });
        };
        let control = Arc::new(FirecrackerControl {
            id: spec.id.clone(),
            cgroups: self.remains.cgroups.clone(),
            jail: jail.clone(),
            process: second,
            telemetry,
            log: Some(log),
            template,
            client: OnceCell::new(),
        });
        let vm = Vm::watch(process, jail.agent(), jail.console(), Arc::clone(&control) as _);
        let running = match Self::run(spec, kernel_line, jail, &vm).await {
            // Now it has them open.
            Ok(client) => match taps {
                Some(taps) => taps.hand_out().await.map(|()| client),
                None => Ok(client),
            },
            Err(error) => Err(error),
        };
        match running {
            Ok(client) => {
                let _ = control.client.set(client);
                Ok(vm)
            }
            Err(error) => {
                vm.kill().await;
                Err(error)
            }
        }
    }

    /// From the process to the running guest.
    async fn run(spec: &VmSpec, kernel_line: String, jail: Jail, vm: &Vm) -> Result<Client, VmmError> {
        let asked = async {
            let client = Client::ready(jail.clone(), START_DEADLINE).await?;
            match &spec.start {
                Start::Boot | Start::Template(_) => machine::build(&client, spec, kernel_line).await?,
                Start::Restore(_) => machine::load(&client, spec).await?,
            }
            // A template's is written into its jail, and it never has a guest of anybody's.
            if !matches!(spec.start, Start::Template(_)) {
                jail.close().map_err(ApiError::Jail)?;
            }
            machine::start(&client, &spec.start).await?;
            Ok(client)
        };
        let error = tokio::select! {
            biased;
            asked = asked => match asked {
                Ok(client) => return Ok(client),
                Err(error) => error,
            },
            reason = vm.exited() => return Err(died(spec, &reason)),
        };
        // A broken connection is most often the first sign of an end whose reason is worth more.
        if matches!(error, ApiError::Connect(_) | ApiError::Protocol { .. })
            && let Ok(reason) = tokio::time::timeout(DEATH_DEADLINE, vm.exited()).await
        {
            return Err(died(spec, &reason));
        }
        Err(error.of(&spec.id))
    }
}

fn died(spec: &VmSpec, reason: &ExitReason) -> VmmError {
    VmmError::Died { id: spec.id.clone(), cause: reason.cause, log: reason.log_tail.clone() }
}

#[async_trait]
impl Vmm for Firecracker {
    fn name(&self) -> &'static str {
        "firecracker"
    }

    fn capabilities(&self) -> Capabilities {
        let [memory_limit, cpu_limit, pids_limit] = self.remains.cgroups.usable();
        Capabilities {
            // A clone needs a tap of its own.
            snapshot: self.installed.version.has(Feature::NetworkOverrides),
            balloon: true,
            vsock: true,
            hotplug: false,
            makes_taps: self.apart,
            metadata: true,
            memory_limit,
            cpu_limit,
            pids_limit,
        }
    }

    fn fingerprint(&self) -> String {
        let kernel = rustix::system::uname();
        format!(
            "firecracker {} {} {}",
            self.installed.build,
            kernel.release().to_string_lossy(),
            cpu::model()
        )
    }

    async fn spawn(&self, spec: &VmSpec) -> Result<Vm, VmmError> {
        spec::check(spec).map_err(|reason| Self::refuse(spec, reason))?;
        if rustix::process::geteuid().is_root() && (spec.uid == 0 || spec.gid == 0) {
            let why = "Firecracker never runs as root; give it a separate user and group";
            return Err(Self::refuse(spec, why));
        }
        if matches!(spec.start, Start::Restore(_) | Start::Template(_)) && !self.capabilities().snapshot {
            return Err(VmmError::Unsupported { what: "start clones; Firecracker 1.12 or later can" });
        }
        let result = self.launch(spec).await;
        if result.is_err()
            && let Err(error) = self.sweep(&spec.run_dir, &spec.id, None).await
        {
            tracing::warn!(machine = %spec.id, %error, "a failed start left something behind");
        }
        result
    }

    async fn adopt(
        &self,
        id: &MachineId,
        run_dir: &Path,
        record: &ProcessRecord,
        console_max: u64,
    ) -> Result<Option<Vm>, VmmError> {
        let failed = |source| VmmError::Process { action: "adopt", pid: record.pid, source };
        let Some(process) = Process::find(record).map_err(failed)? else { return Ok(None) };
        if !self.remains.scanner.carries(record.pid, id).await? {
            return Ok(None); // the record is from before a reboot of the host, and the ticks agree by chance
        }
        let Some(second) = Process::find(record).map_err(failed)? else { return Ok(None) };
        // The jail of whichever version of the program started it.
        let jail = Jail::find(run_dir, id).unwrap_or_else(|| Jail::new(run_dir, self.installed.name(), id));
        let control = Arc::new(FirecrackerControl {
            id: id.clone(),
            cgroups: self.remains.cgroups.clone(),
            jail: jail.clone(),
            process: second,
            telemetry: Telemetry::open(&jail, console_max, true),
            log: Log::of(record.pid).ok(),
            template: None,
            client: OnceCell::new(),
        });
        Ok(Some(Vm::watch(process, jail.agent(), jail.console(), control)))
    }

    async fn strays(&self) -> Result<Vec<MachineId>, VmmError> {
        self.remains.strays().await
    }

    async fn sweep(
        &self,
        run_dir: &Path,
        id: &MachineId,
        record: Option<&ProcessRecord>,
    ) -> Result<(), VmmError> {
        self.remains.end(id, record).await?;
        Jail::remove(run_dir, id)
    }
}
