//! The bytes to the host.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

/// First and longest pause between two attempts to reach the host.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Pause between two attempts while the machine has no identity: a clone of a frozen machine wakes up in one, and its
/// host is already there. Such a guest does nothing else, and waits for a short time only.
const EAGER: Duration = Duration::from_millis(5);

/// How the host is reached.
pub enum Channel {
    /// A virtio-serial port. It is opened once; while no host is connected it signals a hang-up, and later works again.
    Port(OwnedFd),
    /// A connection that is dialled, again and again: vsock, or a Unix socket.
    Dial(Box<dyn FnMut() -> io::Result<OwnedFd> + Send>),
}

/// A channel and its connection, if there is one now.
pub(super) struct Wire {
    channel: Channel,
    dialled: Option<OwnedFd>,
    pause: Duration,
    /// Since when a host has been there.
    since: Option<Instant>,
}

fn nonblocking(fd: &OwnedFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    Ok(rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)?)
}

impl Wire {
    pub(super) fn new(channel: Channel) -> io::Result<Self> {
        if let Channel::Port(port) = &channel {
            nonblocking(port)?;
        }
        Ok(Self { channel, dialled: None, pause: PAUSES.0, since: None })
    }

    /// Dials if that is needed.
    pub(super) fn connect(&mut self) -> io::Result<()> {
        if let Channel::Dial(dial) = &mut self.channel
            && self.dialled.is_none()
        {
            let fd = dial()?;
            nonblocking(&fd)?;
            self.dialled = Some(fd);
        }
        self.since.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// The connection. `None` when it has to be dialled first.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.channel {
            Channel::Port(port) => Some(port.as_fd()),
            Channel::Dial(_) => self.dialled.as_ref().map(AsFd::as_fd),
        }
    }

    /// The host is gone. Returns how long to wait before looking again: longer each time, with jitter, and short
    /// again after a connection that lasted; always short for a machine without an identity (`eager`).
    pub(super) fn lost(&mut self, eager: bool) -> Duration {
        self.dialled = None;
        let lasted = self.since.take().is_some_and(|since| since.elapsed() > PAUSES.1);
        // A port costs one system call to look at, so it is looked at often: the host may be back at any time.
        let longest = if matches!(self.channel, Channel::Port(_)) { PAUSES.0 * 4 } else { PAUSES.1 };
        self.pause = if eager {
            EAGER
        } else if lasted {
            PAUSES.0
        } else {
            (self.pause * 2).min(longest)
        };
        let nanos = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.subsec_nanos());
        self.pause.mul_f64(0.75 + f64::from(nanos % 1000) / 2000.0)
    }
}
