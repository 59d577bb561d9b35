//! What is done to VMMs and servers.

use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use fireactions_bench::server::Server;

/// VMMs that stand still, and until when.
#[derive(Default)]
pub(crate) struct Stopped(Vec<(Pid, Instant)>);

impl Stopped {
    pub(crate) fn stop(&mut self, pid: u32) {
        let pid = Pid::from_raw(pid.cast_signed());
        // It may have ended by itself.
        if kill(pid, Signal::SIGSTOP).is_ok() {
            self.0.push((pid, Instant::now() + Duration::from_secs(1)));
        }
    }

    /// Lets those go on whose time is over.
    pub(crate) fn go_on(&mut self) {
        self.0.retain(|(pid, until)| {
            let waits = Instant::now() < *until;
            if !waits {
                let _ = kill(*pid, Signal::SIGCONT);
            }
            waits
        });
    }
}

pub(crate) fn kill_vmm(pid: u32) {
    // It may have ended by itself.
    let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
}

/// The ends of a server, in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// `kill -9`, and another start.
    Crash,
    /// SIGTERM in mode `leave`, and another start.
    Stop,
    /// `server --replace`.
    Replace,
}

impl End {
    pub(crate) const ALL: [Self; 3] = [Self::Crash, Self::Replace, Self::Stop];

    /// Ends this server so; returns the next.
    pub(crate) fn of(self, server: Server) -> anyhow::Result<Server> {
        match self {
            Self::Crash => Server::start(server.crash()?),
            Self::Stop => {
                let setup = server.setup().clone();
                server.stop()?;
                Server::start(setup)
            }
            Self::Replace => server.replace(),
        }
        .with_context(|| format!("{self:?}"))
    }
}
