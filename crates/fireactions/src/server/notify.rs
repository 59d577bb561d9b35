//! Notifications to the service manager: sd_notify(3). Without one, nothing is sent.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::cmsg_space;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A manager that takes no message for this long is not waited for.
const SEND: Duration = Duration::from_secs(2);
/// Until the manager must have read what was sent before a barrier.
const BARRIER: Duration = Duration::from_secs(5);

/// The service manager of this server. The next server is given it: it may have been started by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manager {
    /// Its socket; `@` begins an abstract name.
    socket: String,
    /// It ends a service that does not say within this many microseconds that it lives.
    watchdog_us: Option<u64>,
}

impl Manager {
    /// `NOTIFY_SOCKET`, and `WATCHDOG_USEC` if it is meant for this process.
    pub(super) fn from_environment() -> Option<Self> {
        let socket = std::env::var("NOTIFY_SOCKET").ok()?;
        let meant = std::env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
        let watchdog_us =
            std::env::var("WATCHDOG_USEC").ok().filter(|_| meant).and_then(|us| us.parse().ok());
        Some(Self { socket, watchdog_us })
    }
}

/// Tells the service manager.
#[derive(Debug, Clone)]
pub(super) struct Notifier {
    manager: Option<Manager>,
}

impl Notifier {
    pub(super) fn new(manager: Option<Manager>) -> Self {
        Self { manager }
    }

    pub(super) fn manager(&self) -> Option<Manager> {
        self.manager.clone()
    }

    /// How often the manager wants to hear that the server lives, at the least.
    pub(super) fn watchdog(&self) -> Option<Duration> {
        let period = self.manager.as_ref()?.watchdog_us.filter(|period| *period > 0)?;
        Some(Duration::from_micros(period))
    }

    /// Clients are served.
    pub(super) fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={status}"));
    }

    /// For people.
    pub(super) fn status(&self, status: &str) {
        self.say(&format!("STATUS={status}"));
    }

    /// A new server is being started; `ready` ends this.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=a new server is starting"));
    }

    /// The server is going.
    pub(super) fn stopping(&self, status: &str) {
        self.say(&format!("STOPPING=1\nSTATUS={status}"));
    }

    /// It still goes, and wants this much more time from now on.
    pub(super) fn extend(&self, by: Duration) {
        self.say(&format!("EXTEND_TIMEOUT_USEC={}", by.as_micros()));
    }

    /// All is well.
    pub(super) fn alive(&self) {
        self.say("WATCHDOG=1");
    }

    /// Process `pid` is the service from now on. Returns when the manager knows: it listens to the main process
    /// alone, and that one is the next to speak.
    pub(super) async fn main_is(&self, pid: i32) {
        self.say(&format!("MAINPID={pid}\nREADY=1"));
        let Some(manager) = self.manager.clone() else { return };
        let passed = tokio::task::spawn_blocking(move || barrier(&manager)).await;
        if !matches!(passed, Ok(Ok(()))) {
            tracing::warn!("the service manager did not confirm the new main process");
        }
    }

    fn say(&self, lines: &str) {
        let Some(manager) = &self.manager else { return };
        if let Err(error) = connect(manager).and_then(|socket| socket.send(lines.as_bytes())) {
            tracing::warn!(%error, socket = manager.socket, "the service manager could not be notified");
        }
    }
}

fn connect(manager: &Manager) -> io::Result<UnixDatagram> {
    let address = match manager.socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&manager.socket)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(SEND))?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

/// Waits until the manager has read what was sent before: it closes the descriptor that comes with `BARRIER=1`.
fn barrier(manager: &Manager) -> io::Result<()> {
    let socket = connect(manager)?;
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [theirs.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(&socket, &[IoSlice::new(b"BARRIER=1")], &mut control, SendFlags::NOSIGNAL)?;
    drop(theirs);
    let mut wait = [PollFd::new(&ours, PollFlags::empty())];
    let limit = rustix::time::Timespec { tv_sec: BARRIER.as_secs().cast_signed(), tv_nsec: 0 };
    match poll(&mut wait, Some(&limit))? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 1024];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[tokio::test]
    async fn paths_and_abstract_names_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("fireactions-test-{}", std::process::id());
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        for (socket, at) in [(by_path, path.display().to_string()), (by_name, format!("@{name}"))] {
            let notifier = Notifier::new(Some(Manager { socket: at, watchdog_us: Some(4_000_000) }));
            assert_eq!(notifier.watchdog(), Some(Duration::from_secs(4)));
            notifier.ready("2 pools");
            assert_eq!(heard(&socket), "READY=1\nSTATUS=2 pools");
            notifier.main_is(7).await;
            assert_eq!(heard(&socket), "MAINPID=7\nREADY=1");
            assert_eq!(heard(&socket), "BARRIER=1");
        }
    }

    #[test]
    fn a_manager_that_is_gone_is_no_error() {
        let gone = Manager { socket: "/nonexistent/notify".to_owned(), watchdog_us: None };
        Notifier::new(Some(gone)).alive();
        Notifier::new(None).alive();
    }
}
