//! QMP, QEMU's control protocol: one JSON object a line (QEMU's `docs/interop/qmp-spec.rst`).
//!
//! The process at the other end has run a hostile guest and may be in its hands: lines and waits are bounded, and
//! nothing it says is trusted further than as words in a message.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fireactions_model::MachineId;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use crate::VmmError;

/// Longest line that is taken from QEMU.
const LINE_MAX: usize = 256 << 10;

/// How long a guest that needs room on the host's disk waits until it is tried again.
const ROOM_PAUSE: Duration = Duration::from_secs(5);

/// Longest wait for one answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QmpError {
    /// The socket.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// QEMU closed the connection.
    #[error("QEMU closed the connection")]
    Closed,
    /// No answer.
    #[error("QEMU did not answer within {0:?}")]
    Timeout(Duration),
    /// An answer that is no QMP.
    #[error("QEMU said something that is not QMP: {0}")]
    Protocol(&'static str),
    /// QEMU said no.
    #[error("QEMU refused '{command}': {reason}")]
    Refused {
        /// Which command.
        command: &'static str,
        /// QEMU's words.
        reason: String,
    },
}

impl QmpError {
    /// In words about a machine whose VMM did not do `what`.
    pub(crate) fn of(self, id: &MachineId, what: &'static str) -> VmmError {
        let id = id.clone();
        match self {
            Self::Timeout(deadline) => VmmError::Timeout { id, what, deadline },
            Self::Refused { command, reason } => {
                VmmError::Refused { id, what: format!("do '{command}'"), why: reason }
            }
            other => VmmError::Control { id, reason: other.to_string() },
        }
    }
}

/// A connection. Its task ends with the connection.
#[derive(Debug, Clone)]
pub(crate) struct Qmp {
    /// Boxed, for a queue has room for 32 from its first on.
    commands: mpsc::Sender<Box<Command>>,
    shutdown: Arc<Mutex<Option<String>>>,
}

#[derive(Debug)]
struct Command {
    name: &'static str,
    arguments: Value,
    /// Goes along.
    fd: Option<OwnedFd>,
    answer: oneshot::Sender<Result<Value, QmpError>>,
}

impl Qmp {
    /// Connects and negotiates. QEMU serves one client at a time: while another is connected this waits.
    pub(crate) async fn connect(socket: &Path, deadline: Duration) -> Result<Self, QmpError> {
        let negotiate = async {
            let mut lines = Lines { stream: UnixStream::connect(socket).await?, buffer: Vec::new() };
            if lines.next().await?.get("QMP").is_none() {
                return Err(QmpError::Protocol("no greeting"));
            }
            lines.send("qmp_capabilities", &Value::Null, None).await?;
            while lines.next().await?.get("return").is_none() {}
            Ok(lines)
        };
        let lines =
            tokio::time::timeout(deadline, negotiate).await.map_err(|_| QmpError::Timeout(deadline))??;
        // One command is under way at a time; a few callers may wait.
        let (commands, queue) = mpsc::channel(8);
        let shutdown = Arc::default();
        tokio::spawn(serve(lines, queue, Arc::clone(&shutdown)));
        Ok(Self { commands, shutdown })
    }

    /// Runs one command.
    pub(crate) async fn execute(&self, name: &'static str, arguments: Value) -> Result<Value, QmpError> {
        self.run(name, arguments, None).await
    }

    /// Gives QEMU an open descriptor, by this name.
    pub(crate) async fn give(&self, name: &'static str, fd: OwnedFd) -> Result<(), QmpError> {
        self.run("getfd", json!({ "fdname": name }), Some(fd)).await.map(drop)
    }

    /// Gives QEMU an open descriptor; the name under which it opens it as a file.
    pub(crate) async fn lend(&self, fd: OwnedFd) -> Result<String, QmpError> {
        let answer = self.run("add-fd", Value::Null, Some(fd)).await?;
        let set = answer.get("fdset-id").and_then(Value::as_u64);
        set.map(|set| format!("/dev/fdset/{set}")).ok_or(QmpError::Protocol("not the number of a descriptor"))
    }

    async fn run(
        &self,
        name: &'static str,
        arguments: Value,
        fd: Option<OwnedFd>,
    ) -> Result<Value, QmpError> {
        let (answer, answered) = oneshot::channel();
        let exchange = async {
            self.commands
                .send(Box::new(Command { name, arguments, fd, answer }))
                .await
                .map_err(|_| QmpError::Closed)?;
            answered.await.map_err(|_| QmpError::Closed)?
        };
        tokio::time::timeout(ANSWER_DEADLINE, exchange)
            .await
            .map_err(|_| QmpError::Timeout(ANSWER_DEADLINE))?
    }

    /// The reason of the SHUTDOWN event, once QEMU has sent one.
    pub(crate) fn shutdown_reason(&self) -> Option<String> {
        self.shutdown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether QEMU has closed the connection.
    pub(crate) fn is_closed(&self) -> bool {
        self.commands.is_closed()
    }

    /// Returns when the connection has ended and every event on it has been seen.
    pub(crate) async fn closed(&self) {
        self.commands.closed().await;
    }
}

async fn serve(
    mut lines: Lines,
    mut queue: mpsc::Receiver<Box<Command>>,
    shutdown: Arc<Mutex<Option<String>>>,
) {
    let mut pending: Option<Box<Command>> = None;
    // When the guest is to go on that QEMU stopped because a disk of the host was full; never one that we stopped.
    let mut go_on: Option<tokio::time::Instant> = None;
    let mut is_stopped = false;
    loop {
        let until = go_on.unwrap_or_else(tokio::time::Instant::now);
        tokio::select! {
            () = tokio::time::sleep_until(until), if go_on.is_some() && pending.is_none() => {
                go_on = None;
                if lines.send("cont", &Value::Null, None).await.is_err() {
                    return;
                }
                // Nobody waits for the answer.
                let (answer, _) = oneshot::channel();
                pending = Some(Box::new(Command { name: "cont", arguments: Value::Null, fd: None, answer }));
            }
            line = lines.next() => {
                let Ok(message) = line else { return };
                if waits_for_room(&message) && !is_stopped {
                    go_on = Some(tokio::time::Instant::now() + ROOM_PAUSE);
                } else if let Some(reason) = shutdown_reason(&message) {
                    shutdown.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
                } else if let Some(result) = answer(&message, pending.as_ref().map_or("", |c| c.name))
                    && let Some(command) = pending.take()
                {
                    let _ = command.answer.send(result);
                }
            }
            // A caller that gave up leaves its command pending: the next answer is the old one's, so the
            // connection is of no more use, and the answer is not mistaken because the next command waits for it.
            command = queue.recv(), if pending.is_none() => {
                let Some(mut command) = command else { return };
                if command.answer.is_closed() {
                    continue; // nobody waits for it any more
                }
                if lines.send(command.name, &command.arguments, command.fd.take()).await.is_err() {
                    return;
                }
                match command.name {
                    "stop" => (is_stopped, go_on) = (true, None),
                    "cont" => is_stopped = false,
                    _ => {}
                }
                pending = Some(command);
            }
        }
    }
}

fn answer(message: &Value, command: &'static str) -> Option<Result<Value, QmpError>> {
    if let Some(value) = message.get("return") {
        return Some(Ok(value.clone()));
    }
    let error = message.get("error")?;
    let reason = error.get("desc").and_then(Value::as_str).unwrap_or("no reason given");
    Some(Err(QmpError::Refused { command, reason: reason.chars().take(500).collect() }))
}

/// Whether the guest is stopped because a write found no room on the host (`BLOCK_IO_ERROR` of QEMU's `qapi/block-core.json`).
/// QEMU does the write again when the guest goes on, and stops it again if there is still none.
fn waits_for_room(message: &Value) -> bool {
    let data = |name: &str| message.get("data").and_then(|data| data.get(name));
    message.get("event").and_then(Value::as_str) == Some("BLOCK_IO_ERROR")
        && data("action").and_then(Value::as_str) == Some("stop")
        && data("nospace").and_then(Value::as_bool) == Some(true)
}

/// The first reason stands: a quit that follows a guest's shutdown does not replace it.
fn shutdown_reason(message: &Value) -> Option<String> {
    (message.get("event")?.as_str()? == "SHUTDOWN").then(|| {
        let reason = message.pointer("/data/reason").and_then(Value::as_str).unwrap_or("unknown");
        reason.chars().filter(char::is_ascii_graphic).take(64).collect()
    })
}

#[derive(Debug)]
struct Lines {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Lines {
    /// The next object. Safe to drop halfway: what was read stays in the buffer.
    async fn next(&mut self) -> Result<Value, QmpError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return serde_json::from_slice(&line).map_err(|_| QmpError::Protocol("not JSON"));
            }
            if self.buffer.len() > LINE_MAX {
                return Err(QmpError::Protocol("a line without end"));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(QmpError::Closed);
            }
        }
    }

    async fn send(&mut self, command: &str, arguments: &Value, fd: Option<OwnedFd>) -> Result<(), QmpError> {
        let mut object = json!({ "execute": command });
        if !arguments.is_null() {
            object["arguments"] = arguments.clone();
        }
        let line = format!("{object}\n");
        // A stopped QEMU reads nothing; a few dozen bytes still fit into the socket's buffer.
        let sent = match fd {
            None => 0,
            Some(fd) => {
                self.stream
                    .async_io(Interest::WRITABLE, || send_with(&self.stream, line.as_bytes(), &fd))
                    .await?
            }
        };
        self.stream.write_all(&line.as_bytes()[sent..]).await?;
        Ok(())
    }
}

/// Sends the first bytes of `data` and with them a descriptor; how many went.
fn send_with(socket: impl AsFd, data: &[u8], fd: &OwnedFd) -> io::Result<usize> {
    let fds = [fd.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    Ok(rustix::net::sendmsg(socket, &[IoSlice::new(data)], &mut ancillary, flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixListener;

    static ENDLESS: [u8; LINE_MAX + 70_000] = [b' '; LINE_MAX + 70_000];

    async fn answer_with(script: &'static [u8]) -> Result<Qmp, QmpError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("qmp.sock");
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(script).await;
            let mut sink = [0; 1024];
            while stream.read(&mut sink).await.is_ok_and(|count| count > 0) {}
        });
        Qmp::connect(&path, Duration::from_secs(1)).await
    }

    #[tokio::test]
    async fn a_hostile_peer_is_refused_in_time() {
        assert!(matches!(answer_with(b"").await, Err(QmpError::Timeout(_))));
        assert!(matches!(answer_with(b"{\"QMP\":{}}\n").await, Err(QmpError::Timeout(_))));
        assert!(matches!(answer_with(b"hello\n").await, Err(QmpError::Protocol("not JSON"))));
        assert!(matches!(answer_with(b"{}\n").await, Err(QmpError::Protocol("no greeting"))));
        assert!(matches!(answer_with(&ENDLESS).await, Err(QmpError::Protocol("a line without end"))));
    }

    #[tokio::test]
    async fn events_and_refusals_are_kept_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("qmp.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let answers: [&[u8]; 3] = [
            b"{\"return\":{}}\n",
            b"{\"event\":\"SHUTDOWN\",\"data\":{\"reason\":\"guest-reset\"}}\n{\"return\":{\"running\":true}}\n",
            b"{\"event\":\"SHUTDOWN\",\"data\":{\"reason\":\"host-qmp-quit\"}}\n{\"error\":{\"desc\":\"no\"}}\n",
        ];
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"{\"QMP\":{}}\n").await.unwrap();
            let mut command = [0; 1024];
            for answer in answers {
                assert!(stream.read(&mut command).await.unwrap() > 0);
                stream.write_all(answer).await.unwrap();
            }
        });
        let qmp = Qmp::connect(&path, Duration::from_secs(5)).await.unwrap();
        let status = qmp.execute("query-status", Value::Null).await.unwrap();
        assert_eq!(status["running"], true);
        let error = qmp.execute("quit", Value::Null).await.unwrap_err();
        assert_eq!(error.to_string(), "QEMU refused 'quit': no");
        assert_eq!(qmp.shutdown_reason().as_deref(), Some("guest-reset"), "the first reason stands");
        qmp.closed().await;
        assert!(matches!(qmp.execute("quit", Value::Null).await, Err(QmpError::Closed)));
    }

    #[tokio::test]
    async fn a_guest_that_found_no_room_goes_on_and_one_that_we_stopped_does_not() {
        const FULL: &[u8] =
            b"{\"event\":\"BLOCK_IO_ERROR\",\"data\":{\"action\":\"stop\",\"nospace\":true}}\n";
        const BROKEN: &[u8] =
            b"{\"event\":\"BLOCK_IO_ERROR\",\"data\":{\"action\":\"stop\",\"nospace\":false}}\n";
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("qmp.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let (told, mut commands) = mpsc::unbounded_channel();
        let peer = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"{\"QMP\":{}}\n").await.unwrap();
            // What is said after each command.
            for more in [BROKEN, FULL, FULL, b"", FULL] {
                let mut command = [0; 1024];
                let count = stream.read(&mut command).await.unwrap();
                let command: Value = serde_json::from_slice(&command[..count]).unwrap();
                told.send(command["execute"].as_str().unwrap().to_owned()).unwrap();
                stream.write_all(b"{\"return\":{}}\n").await.unwrap();
                stream.write_all(more).await.unwrap();
            }
            stream
        });
        let qmp = Qmp::connect(&path, Duration::from_secs(5)).await.unwrap();
        tokio::time::pause();
        qmp.execute("query-status", Value::Null).await.unwrap();
        let mut said = Vec::new();
        while said.len() < 4 {
            said.push(commands.recv().await.unwrap());
        }
        // A disk that fails otherwise is nothing to wait for; one without room is tried again until there is some.
        assert_eq!(said, ["qmp_capabilities", "query-status", "cont", "cont"]);
        qmp.execute("stop", Value::Null).await.unwrap();
        assert_eq!(commands.recv().await.unwrap(), "stop");
        let stream = peer.await.unwrap();
        tokio::time::sleep(ROOM_PAUSE * 10).await;
        let mut rest = [0; 16];
        assert!(stream.try_read(&mut rest).is_err(), "no command came: {rest:?}");
    }
}
