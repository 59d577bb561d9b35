//! A running machine.
//!
//! ```text
//!  spawn / adopt ─▶ running ─▶ process ends (pidfd) ─▶ console drained ─▶ cgroup removed ─▶ `exited` returns
//! ```
//!
//! One task per machine walks this line; the handles only look on and signal.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use fireactions_model::MachineId;
use rustix::process::Signal;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::cgroup::Used;
use crate::process::Process;
use crate::{AgentEndpoint, ProcessRecord, VmmError};

/// How a VMM process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCause {
    /// It returned this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
    /// It is gone; it was not this server's child, so its status went to another.
    Unknown,
}

impl fmt::Display for ExitCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
            Self::Unknown => f.write_str("exit status unknown: started by an earlier server process"),
        }
    }
}

/// Why a machine is no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitReason {
    /// How the process ended.
    pub cause: ExitCause,
    /// Why the guest stopped, as the VMM told it: `guest-shutdown` (powered off), `guest-reset` (rebooted, or
    /// its kernel panicked), `host-qmp-quit`, `host-signal`, … Absent when the VMM had no time to say so.
    pub shutdown: Option<String>,
    /// The last lines of the guest's console, at most 4 KiB, made printable.
    pub console_tail: String,
    /// The last lines of the VMM's standard error, at most 4 KiB, made printable.
    pub log_tail: String,
    /// Processes of the machine's cgroup that the host's kernel killed for memory: not 0 only when it killed the VMM.
    pub oom_kills: u32,
    /// The cgroup's limit in bytes, when that limit was why.
    pub oom_limit: Option<u64>,
}

/// How an agent begins its last line when it gives its machine up.
const NO_BOOT: &str = "fireactions-agent: cannot boot: ";

/// How it goes on when the guest's kernel found no timer.
const NO_TIMER: &str = "the kernel has no timer";

impl ExitReason {
    /// What the guest's agent said could not be done, if it gave its machine up.
    fn no_boot(&self) -> Option<&str> {
        let (_, why) = self.console_tail.rsplit_once(NO_BOOT)?;
        Some(why.lines().next().unwrap_or_default())
    }

    /// The guest's kernel found no timer, for the host was busy in the wrong moment of its boot: chance, and another guest that
    /// is made alike has one.
    pub fn no_timer(&self) -> bool {
        self.no_boot().is_some_and(|why| why.starts_with(NO_TIMER))
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cause)?;
        if let Some(shutdown) = &self.shutdown {
            write!(f, " ({shutdown})")?;
        }
        if self.oom_kills > 0 {
            f.write_str("; the host killed it for memory: ")?;
            return match self.oom_limit {
                Some(limit) => write!(f, "its cgroup's limit of {} MiB was reached", limit >> 20),
                None => f.write_str("the host itself had none left"),
            };
        }
        if let Some(line) = self.console_tail.lines().rev().find(|line| line.contains("Kernel panic")) {
            return write!(f, "; the guest's console says: {line}");
        }
        if let Some(why) = self.no_boot() {
            return write!(f, "; the guest's agent cannot boot: {why}");
        }
        // QEMU runs with -no-reboot, and a panic was looked for above.
        if self.shutdown.as_deref() == Some("guest-reset") {
            return f.write_str("; the guest rebooted, which ends its machine");
        }
        if self.shutdown.as_deref() == Some("internal-error") {
            return f.write_str("; the host's KVM could not continue the guest's processor");
        }
        // QEMU's notes about waiting for its own sockets explain nothing.
        match self.log_tail.lines().rev().find(|line| !line.contains(": info: ")) {
            Some(line) => write!(f, ": {line}"),
            None => Ok(()),
        }
    }
}

/// What a machine uses of the host now: its VMM, and so its guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Memory in bytes that is not there for others. Huge pages are set aside beforehand and not in it.
    pub memory: u64,
    /// Processor time since it began.
    pub cpu: Duration,
}

/// What a driver adds to the handle.
#[async_trait]
pub(crate) trait Control: fmt::Debug + Send + Sync {
    /// Whose VMM it is.
    fn id(&self) -> MachineId;

    /// Asks the VMM to quit. Bounded in time; failures are the ladder's to deal with.
    async fn quit(&self);

    /// What is visibly wrong with the running VMM, for people, after a look at its control socket that takes at most
    /// `limit`; `hung` is said when there is no answer.
    async fn diagnose(&self, limit: Duration) -> Diagnosis;

    /// After the process ended: gathers what is known and removes what only the running process needed.
    async fn finish(&self, cause: ExitCause) -> ExitReason;

    /// Closes every connection to the running process.
    fn detach(&self);

    /// What its cgroups count.
    fn used(&self) -> Used;

    /// Pauses the guest and writes it into its template's directory; the process ends afterwards.
    async fn freeze(&self) -> Result<(), VmmError> {
        Err(VmmError::Unsupported { what: "freeze a machine into a template" })
    }

    /// Replaces the metadata service's content.
    async fn set_metadata(&self, _data: &Value) -> Result<(), VmmError> {
        Err(VmmError::Unsupported { what: "serve metadata" })
    }

    /// Asks the guest to give up `mib` MiB of its memory in all; 0 gives all of it back.
    async fn balloon(&self, _mib: u32) -> Result<(), VmmError> {
        Err(VmmError::Unsupported { what: "change a machine's memory" })
    }

    /// MiB that the guest has given up now.
    async fn ballooned(&self) -> Result<u32, VmmError> {
        Err(VmmError::Unsupported { what: "change a machine's memory" })
    }
}

/// What a driver finds out about its running VMM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Diagnosis {
    /// It answers and says that the guest runs.
    Fine,
    /// It does not answer.
    Silent,
    /// It answers, and this is wrong; goes on after "its VMM process 123 ".
    Wrong(String),
}

/// A handle to a running machine. Clones share it; dropping all of them ends nothing.
#[derive(Debug, Clone)]
pub struct Vm(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    process: Process,
    agent: AgentEndpoint,
    console: PathBuf,
    control: Arc<dyn Control>,
    exit: watch::Sender<Option<ExitReason>>,
    watcher: OnceLock<AbortHandle>,
}

/// How long a VMM may take to answer a question that it answers within milliseconds.
const ANSWER_DEADLINE: Duration = Duration::from_secs(1);

/// How long SIGKILL may take. Only a process stuck in the kernel (a dead disk) takes longer.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

impl Vm {
    pub(crate) fn watch(
        process: Process,
        agent: AgentEndpoint,
        console: PathBuf,
        control: Arc<dyn Control>,
    ) -> Self {
        let (exit, _) = watch::channel(None);
        let vm = Self(Arc::new(Shared { process, agent, console, control, exit, watcher: OnceLock::new() }));
        let shared = vm.0.clone();
        let watcher = tokio::spawn(async move {
            let cause = shared.process.ended().await;
            let reason = shared.control.finish(cause).await;
            shared.exit.send_replace(Some(reason));
        });
        let _ = vm.0.watcher.set(watcher.abort_handle());
        vm
    }

    /// The process; to be written down before anything is done with the machine.
    pub fn process(&self) -> &ProcessRecord {
        self.0.process.record()
    }

    /// How to reach the agent.
    pub fn agent(&self) -> AgentEndpoint {
        self.0.agent.clone()
    }

    /// The console file: the guest's latest output. Replaced (by rename) whenever its older half is dropped.
    pub fn console(&self) -> PathBuf {
        self.0.console.clone()
    }

    /// Returns when the process has ended, for every caller, also afterwards.
    pub async fn exited(&self) -> ExitReason {
        let mut exit = self.0.exit.subscribe();
        let reason = exit.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        match reason {
            Some(reason) => reason,
            // The sender lives in `self`, so this is never reached.
            None => std::future::pending().await,
        }
    }

    /// What the machine uses now: by its cgroups, or its process where they do not count. `None` once it has ended. Reads a few files
    /// of the kernel's.
    pub fn usage(&self) -> Option<Usage> {
        let Used { memory, cpu } = self.0.control.used();
        if let (Some(memory), Some(cpu)) = (memory, cpu) {
            return Some(Usage { memory, cpu });
        }
        let (resident, spent) = self.0.process.used()?;
        Some(Usage { memory: memory.unwrap_or(resident), cpu: cpu.unwrap_or(spent) })
    }

    /// What is visibly wrong with the VMM process now, one line for people; `None` when nothing is. Takes at most a
    /// second and a half, also when the process is stopped or hangs.
    pub async fn diagnose(&self) -> Option<String> {
        let pid = self.process().pid;
        if let Some(reason) = self.0.exit.borrow().as_ref() {
            return Some(format!("its VMM process {pid} has ended: {reason}"));
        }
        let before = self.0.process.state();
        if let Some(halted) = before.and_then(halted) {
            return Some(format!("its VMM process {pid} {halted}"));
        }
        let wrong = match self.0.control.diagnose(ANSWER_DEADLINE).await {
            Diagnosis::Fine => return None,
            Diagnosis::Wrong(wrong) => wrong,
            Diagnosis::Silent => match (before, self.0.process.state()) {
                (_, None) => "has just ended".to_owned(),
                (_, Some(now)) if let Some(halted) = halted(now) => halted.to_owned(),
                (Some('D'), Some('D')) => {
                    "hangs inside the host's kernel (state D), most often in a disk that does not answer"
                        .to_owned()
                }
                _ => format!("does not answer on its control socket within {ANSWER_DEADLINE:?}"),
            },
        };
        Some(format!("its VMM process {pid} {wrong}"))
    }

    /// Freezes a machine that was started as [`Start::Template`](crate::Start): pauses it, writes memory and devices into
    /// the template's directory, and ends it. The directory is complete, and readable by the server alone, only when
    /// this returns well. Its guest must be idle, its agent connected to nobody. Takes at most `deadline`.
    pub async fn freeze(&self, deadline: Duration) -> Result<(), VmmError> {
        let id = self.0.control.id();
        let frozen = tokio::time::timeout(deadline, self.0.control.freeze()).await;
        let ended = self.kill().await;
        frozen.map_err(|_| VmmError::Timeout { id: id.clone(), what: "write its template", deadline })??;
        // A process that lives could still change the memory.
        ended.map(drop).ok_or(VmmError::Timeout { id, what: "go after SIGKILL", deadline: KILL_DEADLINE })
    }

    /// Replaces the content of the metadata service; only where [`Capabilities`](crate::Capabilities) has one.
    pub async fn set_metadata(&self, data: &Value) -> Result<(), VmmError> {
        self.0.control.set_metadata(data).await
    }

    /// Asks the guest to give up `mib` MiB of its memory in all; 0 gives all of it back. Returns before it has; only where
    /// [`Capabilities`](crate::Capabilities) has it.
    pub async fn balloon(&self, mib: u32) -> Result<(), VmmError> {
        self.0.control.balloon(mib).await
    }

    /// MiB that the guest has given up now.
    pub async fn ballooned(&self) -> Result<u32, VmmError> {
        self.0.control.ballooned().await
    }

    /// Lets go of the machine without ending it: nothing is watched any more and every connection to the VMM is closed,
    /// so that another server can adopt it while this process lives. `exited` never returns after that.
    pub fn detach(&self) {
        if let Some(watcher) = self.0.watcher.get() {
            watcher.abort();
        }
        self.0.control.detach();
    }

    /// Ends the machine: asks the VMM to quit, then SIGTERM after half of `grace`, then SIGKILL at its end.
    /// Returns when the process is gone. The guest is not asked; its agent is, over its own channel, before this.
    ///
    /// `None` when the process survives even SIGKILL for ten seconds, which only a process stuck inside the
    /// host's kernel does; `exited` still tells when it is gone.
    pub async fn power_off(&self, grace: Duration) -> Option<ExitReason> {
        let step = grace / 2;
        let quit = async {
            self.0.control.quit().await;
            self.exited().await
        };
        if let Ok(reason) = tokio::time::timeout(step, quit).await {
            return Some(reason);
        }
        self.signal(Signal::TERM);
        if let Ok(reason) = tokio::time::timeout(step, self.exited()).await {
            return Some(reason);
        }
        self.kill().await
    }

    /// SIGKILL, and returns when the process is gone. `None` as for [`power_off`](Self::power_off).
    pub async fn kill(&self) -> Option<ExitReason> {
        self.signal(Signal::KILL);
        tokio::time::timeout(KILL_DEADLINE, self.exited()).await.ok()
    }

    fn signal(&self, signal: Signal) {
        if let Err(error) = self.0.process.signal(signal) {
            tracing::warn!(pid = self.process().pid, ?signal, %error, "the VMM could not be signalled");
        }
    }
}

/// States in which a process does nothing, whatever it is asked.
fn halted(state: char) -> Option<&'static str> {
    match state {
        'T' => Some("is stopped by a signal (SIGSTOP)"),
        't' => Some("is stopped by a debugger"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_explains_the_end_is_shown() {
        let waiting =
            "qemu-system-x86_64: -chardev socket,id=console: info: QEMU waiting for connection on: x";
        let mut reason = ExitReason {
            cause: ExitCause::Code(0),
            shutdown: Some("guest-reset".to_owned()),
            console_tail: "[    2.1] Kernel panic - not syncing: sysrq triggered crash\n[    2.2] Rebooting"
                .to_owned(),
            log_tail: waiting.to_owned(),
            oom_kills: 0,
            oom_limit: None,
        };
        assert_eq!(
            reason.to_string(),
            "exit code 0 (guest-reset); the guest's console says: [    2.1] Kernel panic - not syncing: sysrq triggered \
             crash"
        );
        reason.console_tail = "[    1.2] fireactions-agent: cannot boot: no disk; powering off\n".to_owned();
        assert_eq!(
            reason.to_string(),
            "exit code 0 (guest-reset); the guest's agent cannot boot: no disk; powering off"
        );
        assert!(!reason.no_timer());
        reason.console_tail =
            "[    1.2] fireactions-agent: cannot boot: the kernel has no timer: busy\n".to_owned();
        assert!(reason.no_timer());
        reason.console_tail.clear();
        assert_eq!(
            reason.to_string(),
            "exit code 0 (guest-reset); the guest rebooted, which ends its machine"
        );
        reason.shutdown = Some("guest-shutdown".to_owned());
        reason.log_tail = format!("qemu: cannot set up guest memory\n{waiting}");
        assert_eq!(reason.to_string(), "exit code 0 (guest-shutdown): qemu: cannot set up guest memory");
        let mut killed = ExitReason {
            cause: ExitCause::Signal(9),
            shutdown: None,
            oom_kills: 1,
            oom_limit: Some(576 << 20),
            ..reason
        };
        assert_eq!(
            killed.to_string(),
            "killed by signal 9; the host killed it for memory: its cgroup's limit of 576 MiB was reached"
        );
        killed.oom_limit = None;
        assert_eq!(
            killed.to_string(),
            "killed by signal 9; the host killed it for memory: the host itself had none left"
        );
    }
}
