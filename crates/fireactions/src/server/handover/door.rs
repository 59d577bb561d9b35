//! The old server's side.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, geteuid, pidfd_open, pidfd_send_signal};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use super::link::Link;
use super::message::{Message, StateId};
use super::{ANSWER, PROTOCOL, READY};
use crate::server::notify::Manager;
use crate::server::sockets::{Name, Sockets};

/// A new server that failed may write its error for this long before it is killed.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Until a killed process must be gone.
const DEATH: Duration = Duration::from_secs(10);
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A new server that is ready to take over.
pub(in crate::server) struct Request {
    link: Link,
    peer: Peer,
}

/// The process at the other end.
struct Peer {
    pid: i32,
    handle: Arc<OwnedFd>,
}

/// Answers those who ask, one after the other, until one takes.
pub(in crate::server) async fn answer(
    listener: UnixListener,
    state: std::path::PathBuf,
    sockets: Vec<Name>,
    requests: mpsc::Sender<Request>,
) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the handover socket does not accept connections");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        match hear(stream, &state, &sockets).await {
            Ok(Some(request)) => {
                if requests.send(request).await.is_err() {
                    return;
                }
            }
            // It found something of its own to be missing, and has said so itself.
            Ok(None) => tracing::info!("a new server asked to take over and disconnected again"),
            Err(error) => tracing::warn!("no handover: {error:#}"),
        }
    }
}

async fn hear(stream: UnixStream, state: &Path, sockets: &[Name]) -> anyhow::Result<Option<Request>> {
    let credentials = stream.peer_cred().context("the peer cannot be identified")?;
    let own = geteuid().as_raw();
    if credentials.uid() != own && credentials.uid() != 0 {
        bail!("user {} asked, but this server belongs to user {own}", credentials.uid());
    }
    let pid = credentials.pid().context("the peer's process cannot be identified")?;
    let peer = Peer::open(pid)?;
    let mut link = Link::new(stream);
    let Some(Message::Ask { protocol, version, state: asked }) = link.receive(ANSWER).await? else {
        bail!("process {pid} did not send a handover request");
    };
    let refusal = if protocol != PROTOCOL {
        Some(format!(
            "version {version} uses handover protocol {protocol}, but version {VERSION} uses {PROTOCOL}"
        ))
    } else if asked != Some(StateId::of(state)?) {
        Some("its state directory is not the new server's".to_owned())
    } else {
        None
    };
    if let Some(why) = refusal {
        let refused = Message::Refused { version: VERSION.to_owned(), why: why.clone() };
        link.send(&refused, &[], ANSWER).await?;
        bail!("process {pid} was refused: {why}");
    }
    let offer = Message::Offer { version: VERSION.to_owned(), sockets: sockets.to_vec() };
    link.send(&offer, &[], ANSWER).await?;
    match link.receive(ANSWER).await? {
        Some(Message::Take) => {
            tracing::info!(pid, version, "a new server takes over");
            Ok(Some(Request { link, peer }))
        }
        _ => Ok(None),
    }
}

/// How a handover ended.
pub(in crate::server) enum Given {
    /// The new server serves; this one has nothing left to do.
    Served {
        /// Its process.
        pid: i32,
        /// Dropped last: its end tells the new server that the service manager was notified.
        farewell: Box<dyn Send>,
    },
    /// The new server is dead, and all is ours again.
    Back(String),
}

impl Request {
    /// Gives everything away and waits for the word that it is served. `stop` ends the waiting.
    pub(in crate::server) async fn give(
        mut self,
        sockets: &Sockets,
        manager: Option<Manager>,
        stop: impl Future<Output = ()>,
    ) -> Given {
        let message = Message::Given { sockets: sockets.names(), manager };
        let answered = async {
            self.link.send(&message, &sockets.descriptors(), ANSWER).await?;
            self.link.receive(READY).await
        };
        let why = tokio::select! {
            answer = answered => match answer {
                Ok(Some(Message::Ready)) => {
                    return Given::Served { pid: self.peer.pid, farewell: Box::new(self.link) };
                }
                Ok(Some(_)) => "it sent an unexpected message".to_owned(),
                Ok(None) => "it ended, or closed the connection".to_owned(),
                Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                    format!("it was not ready within {READY:?}")
                }
                Err(error) => error.to_string(),
            },
            () = stop => "this server was told to stop meanwhile".to_owned(),
        };
        match self.peer.end().await {
            Ok(()) => Given::Back(why),
            Err(error) => Given::Back(format!("{why}; {error:#}")),
        }
    }
}

impl Peer {
    fn open(pid: i32) -> anyhow::Result<Self> {
        let handle = Pid::from_raw(pid)
            .ok_or_else(|| anyhow!("the peer is in another pid namespace"))
            .and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?))
            .with_context(|| format!("process {pid} cannot be watched"))?;
        Ok(Self { pid, handle: Arc::new(handle) })
    }

    /// Makes sure that it is dead: it may be slow only, and must never serve beside us. One that failed gets a moment
    /// to say why.
    async fn end(&self) -> anyhow::Result<()> {
        if self.dies_within(LAST_WORDS).await {
            return Ok(());
        }
        // It may be dead already.
        let _ = pidfd_send_signal(&self.handle, Signal::KILL);
        if self.dies_within(DEATH).await {
            return Ok(());
        }
        bail!("the new server, process {}, does not die", self.pid)
    }

    async fn dies_within(&self, time: Duration) -> bool {
        let handle = Arc::clone(&self.handle);
        let died = move || {
            let limit = Timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: 0 };
            matches!(poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&limit)), Ok(1))
        };
        tokio::task::spawn_blocking(died).await.unwrap_or(false)
    }
}
