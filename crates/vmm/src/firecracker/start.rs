//! Starting the process, in the jailer's hands or without.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{WaitId, WaitIdOptions};

use super::cmdline::{self, Jailed};
use super::config::Installed;
use super::jail::Jail;
use crate::apart::{self, Taps};
use crate::child::{self, Confined, User};
use crate::console::printable;
use crate::in_place::in_place;
use crate::log::Log;
use crate::process::{self, Process};
use crate::{ExitCause, VmSpec, VmmError};

/// The jailer copies Firecracker, makes three device nodes and ends: milliseconds, on a host that is not full.
const JAILER_DEADLINE: Duration = Duration::from_secs(30);

/// How long an exec may take on a host that is full.
const MARK_DEADLINE: Duration = Duration::from_secs(10);

/// What the process is started with.
#[derive(Debug)]
pub(crate) struct Setting<'a> {
    pub(crate) spec: &'a VmSpec,
    pub(crate) jail: &'a Jail,
    pub(crate) user: Option<User>,
    /// The doors of the machine's cgroups.
    pub(crate) cgroups: Vec<File>,
    pub(crate) unified_parent: Option<&'a str>,
    /// The process has a network namespace of its own.
    pub(crate) apart: bool,
    pub(crate) largest_file: u64,
}

/// Starts Firecracker and gives its process, its standard error, and the taps that are in its network namespace.
pub(crate) async fn start(
    installed: &Installed,
    mut setting: Setting<'_>,
) -> Result<(Process, Log, Option<Taps>), VmmError> {
    // From the first instruction on, so that nothing it starts can be outside.
    let mut confined = Confined { cgroups: std::mem::take(&mut setting.cgroups), ..Confined::default() };
    let Setting { spec, jail, user, .. } = &setting;
    let program = installed.jailer.as_ref().unwrap_or(&installed.binary);
    let failed = |source| VmmError::Program { program: program.clone(), source };
    let log = Log::create("firecracker-log").map_err(failed)?;
    let mut command = Command::new(program);
    command
        .env_clear()
        .stdin(Stdio::null())
        .stdout(console(jail).map_err(failed)?)
        .stderr(log.writer().map_err(failed)?);
    if let (Some(_), Some(user)) = (&installed.jailer, user) {
        let jailed = Jailed {
            id: &spec.id,
            binary: &installed.binary,
            user: *user,
            run_dir: &spec.run_dir,
            unified_parent: setting.unified_parent,
            largest_file: setting.largest_file,
            open_files: child::OPEN_FILES,
        };
        command.args(jailed.arguments()).current_dir("/");
    } else {
        command.args(["--id", spec.id.as_str()]).args(cmdline::FIRECRACKER);
        confined.user = *user;
        confined.directory = Some(jail.directory()?);
        confined.largest_file = Some(setting.largest_file);
        child::limit_open_files(&mut command);
    }
    child::prepare(&mut command, confined);
    // Not as a task of its own: a caller that gives up and sweeps must find the process either marked or never to come.
    let (child, taps) = in_place(|| {
        if setting.apart {
            let names: Vec<&str> = spec.nics.iter().map(|nic| nic.tap.as_str()).collect();
            let (child, taps) = apart::spawn_with_taps(&mut command, &names, spec.uid)?;
            Ok((child, Some(taps)))
        } else {
            Ok::<_, VmmError>((command.spawn().map_err(failed)?, None))
        }
    })?;
    drop(command);
    let process = if installed.jailer.is_some() {
        behind_jailer(installed, &setting, child, &log).await?
    } else {
        let pid = child.id();
        match Process::open(pid).map_err(|source| VmmError::Process { action: "watch", pid, source })? {
            Some(process) => process,
            None => return Err(died(spec, status(child), &log)),
        }
    };
    Ok((process, log, taps))
}

/// Firecracker's standard output. It holds both ends, so the death of the server is nothing to it, and it does not wait
/// when nobody reads.
fn console(jail: &Jail) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(jail.console_fifo())
}

/// Waits for the jailer's end and finds the process that it leaves, PID 1 of a namespace of its own.
async fn behind_jailer(
    installed: &Installed,
    setting: &Setting<'_>,
    child: Child,
    log: &Log,
) -> Result<Process, VmmError> {
    let spec = setting.spec;
    let pid = child.id();
    let watch = |pid| move |source| VmmError::Process { action: "watch", pid, source };
    let cause = match Process::open(pid).map_err(watch(pid))? {
        Some(jailer) => tokio::time::timeout(JAILER_DEADLINE, jailer.ended()).await.map_err(|_| {
            VmmError::Timeout { id: spec.id.clone(), what: "leave the jailer", deadline: JAILER_DEADLINE }
        })?,
        None => status(child),
    };
    if cause != ExitCause::Code(0) {
        return Err(died(spec, cause, log));
    }
    let control = |reason: String| VmmError::Control { id: spec.id.clone(), reason };
    let number = setting
        .jail
        .process_number(installed.name())
        .map_err(|error| control(format!("the jailer left no process id behind: {error}")))?;
    let Some(process) = Process::open(number).map_err(watch(number))? else {
        return Err(died(spec, reap(number), log));
    };
    // It may be on its way from the jailer's program to Firecracker's; in between it has no arguments.
    let until = Instant::now() + MARK_DEADLINE;
    while cmdline::marked(&process::arguments_now(number)).as_ref() != Some(&spec.id) {
        if process.state().is_none() {
            return Err(died(spec, process.ended().await, log));
        }
        if Instant::now() >= until {
            return Err(VmmError::Timeout {
                id: spec.id.clone(),
                what: "become Firecracker after the jailer named its process",
                deadline: MARK_DEADLINE,
            });
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(process)
}

fn died(spec: &VmSpec, cause: ExitCause, log: &Log) -> VmmError {
    VmmError::Died { id: spec.id.clone(), cause, log: printable(&log.read()) }
}

/// The end of a child that ended within the millisecond.
fn status(mut child: Child) -> ExitCause {
    match child.wait() {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => ExitCause::Code(code),
            (None, Some(signal)) => ExitCause::Signal(signal),
            (None, None) => ExitCause::Unknown,
        },
        Err(_) => ExitCause::Unknown,
    }
}

/// The same for a process that became this one's child when its parent ended.
fn reap(pid: u32) -> ExitCause {
    let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else {
        return ExitCause::Unknown;
    };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    match rustix::process::waitid(WaitId::Pid(pid), options) {
        Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => ExitCause::Code(code),
            (None, Some(signal)) => ExitCause::Signal(signal),
            (None, None) => ExitCause::Unknown,
        },
        Ok(None) | Err(_) => ExitCause::Unknown,
    }
}
