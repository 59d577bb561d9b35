//! Programs beside the job, for people.

use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, DuplexStream};

use super::error::LinkError;
use super::flow::{End, Use};
use super::link::Link;
use super::state::{Connected, Shared};
use super::stream::{Handle, send};
use crate::limits::{CHUNK, STREAM_WINDOW};
use crate::{ExecRequest, Exit, HostMsg, Stream, WinSize};

/// Takes an exec's standard input. Shutting it down or dropping it is the end of the input.
pub type ExecStdin = DuplexStream;

/// A running exec, in parts that can go to different tasks.
pub struct Exec {
    /// Its input.
    pub stdin: ExecStdin,
    /// Its output and its end.
    pub output: ExecOutput,
    /// Everything else.
    pub control: ExecControl,
}

/// An exec's output. Dropping it before the end kills the program.
pub struct ExecOutput {
    stream: Handle,
}

impl ExecOutput {
    /// The next piece, at most 32 KiB; `None` after the last. Dropping the future loses nothing. The program waits
    /// while nobody asks.
    pub async fn next(&mut self) -> Option<(Stream, Bytes)> {
        let (which, data) = self.stream.receive().await?;
        Some((which, Bytes::from(data)))
    }

    /// Waits for the program's end. What was not taken of its output is thrown away.
    pub async fn exit(&mut self) -> Result<Exit, LinkError> {
        while self.stream.receive().await.is_some() {}
        match self.stream.end().await {
            End::Exit(exit) => Ok(exit),
            End::Cut | End::File(_) => Err(LinkError::Disconnected),
        }
    }
}

/// Steers an exec. Does nothing once that has ended.
#[derive(Clone)]
pub struct ExecControl {
    shared: Arc<Shared>,
    connected: Connected,
    id: u32,
}

impl ExecControl {
    /// The terminal has a new size.
    pub async fn resize(&self, size: WinSize) -> Result<(), LinkError> {
        self.connected.say(&HostMsg::Resize { stream: self.id, size }).await
    }

    /// Kills the program; its exit reads as signal 9.
    pub fn kill(&self) {
        self.shared.update(|state| {
            let session = self.connected.session;
            if let Some(stream) = state.stream(session, self.id)
                && stream.end.is_none()
            {
                stream.end = Some(End::Exit(Exit::Signal(9)));
                state.resets.push(self.id);
                state.grace += STREAM_WINDOW;
            }
        });
        self.shared.due.notify_one();
    }
}

impl Link {
    /// Starts a program beside the job. A program that cannot be started ends with [`Exit::Unstartable`].
    pub async fn exec(&self, request: ExecRequest) -> Result<Exec, LinkError> {
        let stream = Handle::open(&self.shared, Use::Exec).await?;
        stream.say(&HostMsg::Exec { stream: stream.id, request }).await?;
        let (stdin, input) = tokio::io::duplex(CHUNK);
        let control = ExecControl {
            shared: Arc::clone(&self.shared),
            connected: stream.connected.clone(),
            id: stream.id,
        };
        tokio::spawn(feed(control.clone(), input));
        Ok(Exec { stdin, output: ExecOutput { stream }, control })
    }
}

/// Brings the input to the guest until either ends.
async fn feed(exec: ExecControl, mut input: DuplexStream) {
    let ExecControl { shared, connected, id } = exec;
    let over = shared.wait(|state| match state.stream(connected.session, id) {
        Some(stream) if stream.end.is_none() => None,
        _ => Some(()),
    });
    let copy = async {
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = input.read(&mut buffer).await.unwrap_or(0);
            if count == 0 {
                // A connection that is gone has ended the exec as well.
                let _ = connected.say(&HostMsg::Eof { stream: id }).await;
                return;
            }
            if !send(&shared, &connected, id, &buffer[..count]).await.unwrap_or(false) {
                return;
            }
        }
    };
    tokio::select! { () = over => {} () = copy => {} }
}
