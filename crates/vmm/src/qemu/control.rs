//! What a running QEMU is connected to in the server: its control socket, its console, its log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fireactions_model::MachineId;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::qmp::{Qmp, QmpError};
use super::spawn::Files;
use super::{migrate, template};
use crate::cgroup::{Cgroups, Used};
use crate::console::{self, BoundedFile, printable, tail};
use crate::log::Log;
use crate::vm::{Control, Diagnosis};
use crate::{ExitCause, ExitReason, VmmError};

/// Bytes of console and log that an [`ExitReason`] carries.
const TAIL: u64 = 4096;

/// Connecting again to the control socket; whoever waits for it waits no longer.
const CONNECT_DEADLINE: Duration = Duration::from_secs(1);

/// An adopted VMM answers on its control socket in milliseconds, unless it is stopped: then it may yet go on.
const ADOPT_DEADLINE: Duration = Duration::from_secs(60);

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
    /// Where it is frozen into.
    template: Option<template::Files>,
    qmp: Mutex<Option<Qmp>>,
    pump: Mutex<Option<JoinHandle<()>>>,
    /// Looks for the control socket of an adopted machine.
    connecting: Mutex<Option<JoinHandle<()>>>,
}

impl QemuControl {
    pub(crate) fn new(id: MachineId, cgroups: Cgroups, files: Files, log: Option<Log>) -> Self {
        Self {
            id,
            cgroups,
            files,
            log,
            template: None,
            qmp: Mutex::default(),
            pump: Mutex::default(),
            connecting: Mutex::default(),
        }
    }

    pub(crate) fn with_template(self, template: Option<template::Files>) -> Self {
        Self { template, ..self }
    }

    pub(crate) fn attach_qmp(&self, qmp: Qmp) {
        *self.qmp.lock().unwrap_or_else(PoisonError::into_inner) = Some(qmp);
    }

    /// Begins to copy the console.
    pub(crate) fn attach_console(&self, Console { socket, file }: Console) {
        let pump = tokio::spawn(console::pump(socket, file));
        *self.pump.lock().unwrap_or_else(PoisonError::into_inner) = Some(pump);
    }

    /// Connects to the control socket after a restart of the server. Without it the machine is still watched and killed.
    pub(crate) fn resume_qmp(control: &Arc<Self>) {
        let found = Arc::clone(control);
        let connecting = tokio::spawn(async move {
            match Qmp::connect(&found.files.qmp, ADOPT_DEADLINE).await {
                Ok(qmp) => {
                    found.attach_qmp(qmp.clone());
                    // That it was stopped nobody has told this server; if there is still no room, QEMU tells.
                    let status = qmp.execute("query-status", Value::Null).await;
                    if status.is_ok_and(|status| status.get("status").and_then(Value::as_str) == Some(FULL)) {
                        let _ = qmp.execute("cont", Value::Null).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(machine = %found.id, %error, "adopted without its control socket");
                }
            }
        });
        *control.connecting.lock().unwrap_or_else(PoisonError::into_inner) = Some(connecting);
    }

    /// Goes on copying after a restart of the server. A missing console is no reason not to adopt the machine.
    pub(crate) async fn resume_console(&self, max: u64) {
        let console = async {
            let mut file = BoundedFile::open(&self.files.console, max)?;
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

    fn is_connecting(&self) -> bool {
        let connecting = self.connecting.lock().unwrap_or_else(PoisonError::into_inner);
        connecting.as_ref().is_some_and(|task| !task.is_finished())
    }

    /// One command, answered with an object.
    async fn ask(&self, command: &'static str, arguments: Value) -> Result<Value, VmmError> {
        let answer = async { self.connected().await?.execute(command, arguments).await };
        answer.await.map_err(|error| error.of(&self.id, "answer"))
    }

    /// Bytes of memory that it was started with.
    async fn memory(&self) -> Result<u64, VmmError> {
        let summary = self.ask("query-memory-size-summary", Value::Null).await?;
        self.number(&summary, "base-memory")
    }

    fn number(&self, answer: &Value, name: &'static str) -> Result<u64, VmmError> {
        answer.get(name).and_then(Value::as_u64).ok_or_else(|| VmmError::Control {
            id: self.id.clone(),
            reason: format!("QEMU's answer has no number '{name}'"),
        })
    }

    /// The control socket. A machine that was adopted while its QEMU hung gets it here.
    async fn connected(&self) -> Result<Qmp, QmpError> {
        // QEMU serves one connection at a time: a second one would wait for the end of the one that is being made.
        while self.is_connecting() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if let Some(open) = self.qmp().filter(|qmp| !qmp.is_closed()) {
            return Ok(open);
        }
        let qmp = Qmp::connect(&self.files.qmp, CONNECT_DEADLINE).await?;
        self.attach_qmp(qmp.clone());
        Ok(qmp)
    }

    /// Asks QEMU what it is doing.
    async fn status(&self) -> Result<String, QmpError> {
        let answer = self.connected().await?.execute("query-status", Value::Null).await?;
        let status = answer.get("status").and_then(Value::as_str);
        status.map(str::to_owned).ok_or(QmpError::Protocol("no status"))
    }
}

/// The run state of a guest that found no room on the host's disk.
const FULL: &str = "io-error";

/// What is wrong with a run state other than "running" (`RunState` of QEMU's `qapi/run-state.json`).
fn paused(status: &str) -> Option<String> {
    Some(match status {
        "running" => return None,
        // By default QEMU stops the guest for a full disk alone and hands other errors to the guest.
        FULL => "has paused the guest: the host's disk that holds its scratch disk is full".to_owned(),
        "internal-error" => "has stopped the guest after an internal error (internal-error)".to_owned(),
        "paused" => "has paused the guest, because somebody requested it on its control socket".to_owned(),
        other => {
            let other: String = other.chars().filter(char::is_ascii_graphic).take(32).collect();
            format!("does not run the guest; its state is '{other}'")
        }
    })
}

#[async_trait]
impl Control for QemuControl {
    fn id(&self) -> MachineId {
        self.id.clone()
    }

    async fn quit(&self) {
        // One that was just adopted may not be connected yet; whoever asks does not wait for ever.
        let asked = async { self.connected().await?.execute("quit", Value::Null).await };
        if let Err(error) = asked.await {
            tracing::debug!(machine = %self.id, %error, "asking QEMU to quit");
        }
    }

    async fn freeze(&self) -> Result<(), VmmError> {
        let Some(template) = self.template.clone() else {
            return Err(VmmError::Unsupported {
                what: "freeze a machine that was not started as a template",
            });
        };
        let qmp = self.qmp().ok_or(QmpError::Closed).map_err(|error| error.of(&self.id, "answer"))?;
        let state = template.create_state()?;
        migrate::freeze(&qmp, state).await.map_err(|error| error.of(&self.id, "write its state"))?;
        // The guest is stopped, and QEMU changes nothing more: it is ended next.
        let sealed = tokio::task::spawn_blocking(move || template.seal()).await;
        sealed.map_err(|error| VmmError::Control { id: self.id.clone(), reason: error.to_string() })?
    }

    async fn balloon(&self, mib: u32) -> Result<(), VmmError> {
        let left = self.memory().await?.saturating_sub(u64::from(mib) << 20);
        self.ask("balloon", json!({ "value": left })).await.map(drop)
    }

    async fn ballooned(&self) -> Result<u32, VmmError> {
        let answer = self.ask("query-balloon", Value::Null).await?;
        let given = self.memory().await?.saturating_sub(self.number(&answer, "actual")?);
        Ok(u32::try_from(given >> 20).unwrap_or(u32::MAX))
    }

    async fn diagnose(&self, limit: Duration) -> Diagnosis {
        let oom = self.cgroups.oom(&self.id);
        let asked = tokio::time::timeout(limit, self.status()).await;
        // Before the silence, which it explains.
        if oom.is_full() {
            return Diagnosis::Wrong(match oom.limit {
                Some(limit) => {
                    format!("has used up the {} MiB of memory that its cgroup allows", limit >> 20)
                }
                None => "waits for memory, of which its cgroup has none left".to_owned(),
            });
        }
        match asked {
            Ok(Ok(status)) => paused(&status).map_or(Diagnosis::Fine, Diagnosis::Wrong),
            Ok(Err(QmpError::Timeout(_))) | Err(_) => Diagnosis::Silent,
            Ok(Err(error)) => Diagnosis::Wrong(format!("cannot be asked on its control socket: {error}")),
        }
    }

    fn detach(&self) {
        if let Some(connecting) = self.connecting.lock().unwrap_or_else(PoisonError::into_inner).take() {
            connecting.abort();
        }
        self.qmp.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(pump) = self.pump.lock().unwrap_or_else(PoisonError::into_inner).take() {
            pump.abort();
        }
    }

    fn used(&self) -> Used {
        self.cgroups.used(&self.id)
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
        let oom = self.cgroups.oom(&self.id);
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
            oom_kills: oom.kills,
            oom_limit: oom.limit.filter(|_| oom.kills > 0 && oom.limit_hit),
        }
    }
}
