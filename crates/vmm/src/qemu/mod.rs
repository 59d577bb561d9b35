//! The driver for `qemu-system-x86_64 -M microvm`: virtio-mmio, no PCI, no disk or network firmware.
//!
//! What a machine has in its run directory, all of it the server's own and closed to the VM's user:
//!
//! ```text
//! qmp.sock      control: quit, events      agent.sock    the guest agent's virtio-serial port
//! console.sock  the serial port            console.log   its latest output, written by the server, bounded
//! ```
//!
//! The server binds the sockets and opens the files; QEMU inherits them, drops to the VM's user and shuts its
//! seccomp sandbox. It opens nothing by name after that, so a guest that takes QEMU over reaches one scratch
//! disk, one tap and a few sockets that lead back to the server. Its network namespace is empty.

mod cmdline;
mod control;
mod memory;
mod migrate;
mod qmp;
mod spawn;
mod template;

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fireactions_model::MachineId;

use crate::accel::{self, Accel, Choice};
use crate::cgroup::{Cgroups, DiskLimit, Limits};
use crate::child::User;
use crate::console::{BoundedFile, printable};
use crate::in_place::in_place;
use crate::log::Log;
use crate::process::Process;
use crate::remains::Remains;
use crate::scan::Scanner;
use crate::{
    AgentEndpoint, Capabilities, ExitCause, Ours, ProcessRecord, Start, Vm, VmSpec, Vmm, VmmError, apart,
    cpu, spec, tsc,
};
use control::QemuControl;
use memory::Memories;
use qmp::{Qmp, QmpError};
use spawn::Files;

/// How the driver runs QEMU.
#[derive(Debug, Clone)]
pub struct QemuConfig {
    /// `qemu-system-x86_64`: a path, or a name looked up in `PATH`.
    pub binary: PathBuf,
    /// From [`crate::accel::choose`].
    pub accel: Choice,
    /// What it calls its version; a template of one version does not work with another.
    pub version: String,
    /// Name of the cgroup that holds one cgroup per machine; `None`: no cgroups. The default is `fireactions`.
    pub cgroup_parent: Option<String>,
    /// Each VMM has a network namespace of its own, where that is possible, and these are the server's. `None`: all are in the
    /// server's.
    pub apart: Option<Ours>,
}

impl QemuConfig {
    /// The usual settings.
    pub fn new(accel: Choice) -> Self {
        Self {
            binary: PathBuf::from("qemu-system-x86_64"),
            accel,
            version: "unknown".to_owned(),
            cgroup_parent: Some("fireactions".to_owned()),
            apart: None,
        }
    }
}

/// From the start of the process until it answers on its control socket. Thirty at once on two cores stay below
/// ten seconds.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// The driver.
#[derive(Debug)]
pub struct Qemu {
    config: QemuConfig,
    remains: Remains,
    memories: Memories,
    tsc_khz: Option<u32>,
    /// New VMMs have a network namespace of their own.
    apart: bool,
}

impl Qemu {
    /// For machines in the calling thread's network namespace. Looks at the host's cgroups and says in the log what it cannot limit.
    pub fn new(config: QemuConfig) -> Self {
        let cgroups = config.cgroup_parent.as_deref().map(Cgroups::detect).unwrap_or_default();
        for (name, usable) in ["memory", "cpu", "pids"].iter().zip(cgroups.usable()) {
            if !usable && config.cgroup_parent.is_some() {
                tracing::warn!(
                    controller = name,
                    "no writable cgroup hierarchy: machines run without this limit"
                );
            }
        }
        let tsc_khz = tsc::host_khz();
        if config.accel.accel != Accel::Kvm && tsc_khz.is_none() {
            tracing::warn!(
                "the host's TSC frequency is unknown: guests measure it themselves and may hang at boot on a busy host"
            );
        }
        let apart = config.apart.is_some() && apart::can();
        let remains = Remains { cgroups, scanner: Scanner::new(cmdline::marked, config.apart.clone()) };
        Self { config, remains, memories: Memories::default(), tsc_khz, apart }
    }

    fn refuse(spec: &VmSpec, reason: String) -> VmmError {
        VmmError::Spec { id: spec.id.clone(), reason }
    }

    /// What QEMU needs beside the guest's memory. Under TCG that is mostly translated code and its tables: an idle
    /// guest was measured at 245 MiB whatever its memory.
    fn limits(&self, spec: &VmSpec) -> Limits {
        let own = if self.config.accel.accel == Accel::Kvm { 192 } else { 448 };
        Limits {
            memory: Limits::memory_of(spec.memory_mib, own),
            // Half a core more than the guest has, for QEMU's own threads.
            millicores: u64::from(spec.vcpus) * 1000 + 500,
            // One thread per virtual CPU; the disk workers are at most 64.
            tasks: u64::from(spec.vcpus) + 128,
            disk: spec
                .drives
                .iter()
                .find(|drive| !drive.read_only)
                .and_then(|drive| DiskLimit::of(spec.hardware.disk_limits, &drive.path)),
        }
    }

    async fn launch(&self, spec: &VmSpec, files: &Files) -> Result<Vm, VmmError> {
        let accel = self.config.accel.accel;
        let kernel_line =
            cmdline::kernel_line(spec, accel, self.tsc_khz).map_err(|r| Self::refuse(spec, r))?;
        let arguments = cmdline::arguments(spec, accel, &kernel_line);
        let user = User { uid: spec.uid, gid: accel::device_group(accel).unwrap_or(spec.gid) };
        let mut opened = spawn::open(spec, files, spawn::open_taps(spec).await?)?;
        let size = u64::from(spec.memory_mib) << 20;
        let mut template = None;
        match &spec.start {
            Start::Boot => {}
            Start::Template(dir) => {
                let files = template.insert(template::Files::of(dir));
                opened.add_memory(files.create_memory(size, user)?);
            }
            Start::Restore(dir) => {
                let files = template::Files::of(dir);
                opened.add_memory(self.memories.get(&files.memory, size).await?);
            }
        }
        let console = self.open_console(files, spec.console_max).await?;
        let binary = &self.config.binary;
        // A network namespace, fork and exec take the kernel some milliseconds. Not as a task of its own: a caller that gives
        // up and sweeps must find the process either marked or never to come.
        let (mut child, log) = in_place(|| {
            let cgroups = self.remains.cgroups.prepare(&spec.id, self.limits(spec))?;
            spawn::start(binary, &arguments, opened, user, cgroups, self.apart)
        })?;
        let pid = child.id();
        let failed = |source| VmmError::Process { action: "watch", pid, source };
        let Some(process) = Process::open(pid).map_err(failed)? else {
            // Ended within the millisecond: only an unusable program or a missing library does that.
            let cause = match child.wait() {
                Ok(status) => match (status.code(), status.signal()) {
                    (Some(code), _) => ExitCause::Code(code),
                    (None, Some(signal)) => ExitCause::Signal(signal),
                    (None, None) => ExitCause::Unknown,
                },
                Err(_) => ExitCause::Unknown,
            };
            return Err(VmmError::Died { id: spec.id.clone(), cause, log: printable(&log.read()) });
        };
        let control =
            QemuControl::new(spec.id.clone(), self.remains.cgroups.clone(), files.clone(), Some(log));
        let control = Arc::new(control.with_template(template));
        control.attach_console(console);
        let vm = Vm::watch(
            process,
            AgentEndpoint::Dial(files.agent.clone()),
            files.console.clone(),
            Arc::clone(&control) as _,
        );
        match self.wait_until_running(spec, files, &vm, &control).await {
            Ok(()) => Ok(vm),
            Err(error) => {
                vm.kill().await;
                Err(error)
            }
        }
    }

    async fn open_console(&self, files: &Files, max: u64) -> Result<control::Console, VmmError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| VmmError::File { action: "open the console", path, source }
        };
        let file = BoundedFile::open(&files.console, max).map_err(failed(&files.console))?;
        let socket = tokio::net::UnixStream::connect(&files.console_socket)
            .await
            .map_err(failed(&files.console_socket))?;
        Ok(control::Console { socket, file })
    }

    async fn wait_until_running(
        &self,
        spec: &VmSpec,
        files: &Files,
        vm: &Vm,
        control: &QemuControl,
    ) -> Result<(), VmmError> {
        let state = match &spec.start {
            Start::Restore(dir) => Some(template::Files::of(dir).open_state()?),
            Start::Boot | Start::Template(_) => None,
        };
        let run = async {
            let qmp = Qmp::connect(&files.qmp, START_DEADLINE).await?;
            control.attach_qmp(qmp.clone());
            if let Some(state) = state { migrate::wake(&qmp, state).await } else { Ok(()) }
        };
        let running = tokio::select! {
            running = run => running,
            reason = vm.exited() => return Err(died(spec, &reason)),
        };
        match running {
            Ok(()) => Ok(()),
            // A closed connection is most often the first sign of an end whose reason is worth more.
            Err(error @ (QmpError::Io(_) | QmpError::Closed)) => {
                match tokio::time::timeout(Duration::from_secs(2), vm.exited()).await {
                    Ok(reason) => Err(died(spec, &reason)),
                    Err(_) => Err(error.of(&spec.id, "start")),
                }
            }
            Err(error) => Err(error.of(&spec.id, "answer on its control socket")),
        }
    }
}

fn died(spec: &VmSpec, reason: &crate::ExitReason) -> VmmError {
    VmmError::Died { id: spec.id.clone(), cause: reason.cause, log: reason.log_tail.clone() }
}

#[async_trait]
impl Vmm for Qemu {
    fn name(&self) -> &'static str {
        "qemu"
    }

    fn capabilities(&self) -> Capabilities {
        let [memory_limit, cpu_limit, pids_limit] = self.remains.cgroups.usable();
        Capabilities {
            snapshot: true,
            balloon: true,
            memory_limit,
            cpu_limit,
            pids_limit,
            ..Capabilities::default()
        }
    }

    fn fingerprint(&self) -> String {
        format!("qemu {} {:?} {}", self.config.version, self.config.accel.accel, cpu::model())
    }

    async fn spawn(&self, spec: &VmSpec) -> Result<Vm, VmmError> {
        spec::check(spec).map_err(|reason| Self::refuse(spec, reason))?;
        if rustix::process::geteuid().is_root() && (spec.uid == 0 || spec.gid == 0) {
            return Err(Self::refuse(
                spec,
                "QEMU never runs as root; give it a separate user and group".to_owned(),
            ));
        }
        let files = Files::of(&spec.run_dir);
        let result = self.launch(spec, &files).await;
        if result.is_err()
            && let Err(error) = self.sweep(&spec.run_dir, &spec.id, None).await
        {
            tracing::warn!(machine = %spec.id, %error, "a failed start left something behind");
        }
        if result.is_err()
            && let Start::Template(dir) = &spec.start
            && let Err(error) = template::Files::of(dir).discard()
        {
            tracing::warn!(machine = %spec.id, %error, "a template that could not start left something \
                 behind");
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
        let files = Files::of(run_dir);
        let log = Log::of(record.pid).ok();
        let control =
            Arc::new(QemuControl::new(id.clone(), self.remains.cgroups.clone(), files.clone(), log));
        control.resume_console(console_max).await;
        // Beside the rest: a VMM that is stopped or hangs must not hold up the start of the server.
        QemuControl::resume_qmp(&control);
        let agent = AgentEndpoint::Dial(files.agent.clone());
        Ok(Some(Vm::watch(process, agent, files.console, control)))
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
        self.memories.prune();
        Files::of(run_dir).remove()
    }
}
