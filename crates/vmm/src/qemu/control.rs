//! What a running QEMU is connected to in the server: its control socket, its console, its log.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fireactions_model::MachineId;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::qmp::Qmp;
use super::spawn::{Files, Log};
use crate::cgroup::Cgroups;
use crate::console::{self, BoundedFile, printable, tail};
use crate::vm::Control;
use crate::{ExitCause, ExitReason};

/// Bytes of console and log that an [`ExitReason`] carries.
const TAIL: u64 = 4096;

/// Bound of the console file of an adopted machine: the size it has, and at least this.
const ADOPTED_CONSOLE_MAX: u64 = 1 << 20;

/// How long the last words of a dead QEMU may take to be copied.
const DRAIN_DEADLINE: Duration = Duration::from_secs(2);

/// The serial port's socket and the file it is copied to.
#[derive(Debug)]
pub(crate) struct Console {
    pub(crate) socket: UnixStream,
    pub(crate) file: BoundedFile,
}

#[derive(Debug)]
pub(crate) struct QemuControl {
    id: MachineId,
    cgroups: Cgroups,
    files: Files,
    log: Option<Log>,
    qmp: Mutex<Option<Qmp>>,
    pump: Mutex<Option<JoinHandle<()>>>,
}

impl QemuControl {
    pub(crate) fn new(id: MachineId, cgroups: Cgroups, files: Files, log: Option<Log>) -> Self {
        Self { id, cgroups, files, log, qmp: Mutex::default(), pump: Mutex::default() }
    }

    pub(crate) fn attach_qmp(&self, qmp: Qmp) {
        *self.qmp.lock().unwrap_or_else(PoisonError::into_inner) = Some(qmp);
    }

    /// Begins to copy the console.
    pub(crate) fn attach_console(&self, Console { socket, file }: Console) {
        let pump = tokio::spawn(console::pump(socket, file));
        *self.pump.lock().unwrap_or_else(PoisonError::into_inner) = Some(pump);
    }

    /// Goes on copying after a restart of the server. A console that cannot be had is no reason not to adopt.
    pub(crate) async fn resume_console(&self) {
        let size = std::fs::metadata(&self.files.console).map_or(0, |meta| meta.len());
        let console = async {
            let mut file = BoundedFile::open(&self.files.console, size.max(ADOPTED_CONSOLE_MAX))?;
            let socket = UnixStream::connect(&self.files.console_socket).await?;
            file.write(b"\n[the server restarted; output in between was not kept]\n")?;
            Ok::<_, std::io::Error>(Console { socket, file })
        };
        match console.await {
            Ok(console) => self.attach_console(console),
            Err(error) => tracing::warn!(machine = %self.id, %error, "adopted without its console"),
        }
    }

    fn qmp(&self) -> Option<Qmp> {
        self.qmp.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Control for QemuControl {
    async fn quit(&self) {
        if let Some(qmp) = self.qmp()
            && let Err(error) = qmp.execute("quit", Value::Null).await
        {
            tracing::debug!(machine = %self.id, %error, "asking QEMU to quit");
        }
    }

    async fn finish(&self, cause: ExitCause) -> ExitReason {
        let pump = self.pump.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut pump) = pump
            && tokio::time::timeout(DRAIN_DEADLINE, &mut pump).await.is_err()
        {
            pump.abort();
        }
        let qmp = self.qmp();
        if let Some(qmp) = &qmp {
            let _ = tokio::time::timeout(DRAIN_DEADLINE, qmp.closed()).await;
        }
        if let Err(error) = self.cgroups.remove(&self.id).await {
            tracing::warn!(machine = %self.id, %error, "the machine's cgroup stays until it is swept");
        }
        let log = self.log.as_ref().map(Log::read).unwrap_or_default();
        let start = log.len().saturating_sub(usize::try_from(TAIL).unwrap_or(0));
        ExitReason {
            cause,
            shutdown: qmp.and_then(|qmp| qmp.shutdown_reason()),
            console_tail: printable(&tail(&self.files.console, TAIL)),
            log_tail: printable(&log[start..]),
        }
    }
}
