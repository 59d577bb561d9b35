//! Signals that the server listens to.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What an operator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// SIGTERM or SIGINT.
    Stop(&'static str),
    /// SIGHUP: a new server is to take over.
    Replace,
}

/// The streams. A signal that comes while nobody listens is heard the next time.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn new() -> anyhow::Result<Self> {
        let stream = |kind, name| signal(kind).with_context(|| format!("{name} cannot be caught"));
        Ok(Self {
            terminate: stream(SignalKind::terminate(), "SIGTERM")?,
            interrupt: stream(SignalKind::interrupt(), "SIGINT")?,
            hangup: stream(SignalKind::hangup(), "SIGHUP")?,
        })
    }

    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Asked::Stop("SIGINT"),
            _ = self.hangup.recv() => Asked::Replace,
        }
    }

    /// Returns when the server is to stop.
    pub(super) async fn stop(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
