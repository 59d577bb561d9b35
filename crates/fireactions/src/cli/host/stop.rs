//! Being told to stop: by an interrupt at the terminal, its closing, or whoever ends this process.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// From its making on, signals end nothing by themselves.
#[derive(Debug)]
pub(super) struct Stop([Signal; 3]);

impl Stop {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the signals cannot be taken.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    /// Waits until it is said.
    pub(super) async fn said(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
