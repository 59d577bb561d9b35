//! The way to the host.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fireactions_guest_proto::guest::Channel;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, VsockAddr, connect, socket};

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::cmdline::HostPort;

/// The port is there as soon as its driver is.
const PORT_DEADLINE: Duration = Duration::from_secs(20);

/// The VMM answers a request to connect within milliseconds, also with a refusal.
const DIAL_DEADLINE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// The host's context id, `VMADDR_CID_HOST` of vsock(7).
const HOST_CID: u32 = 2;

/// Finds and opens the port. A virtio-serial port can be open once only and is kept for ever.
pub(crate) fn open(host: &HostPort) -> Result<Channel, String> {
    match host {
        HostPort::Serial(name) => {
            let path = find(name)?;
            File::options()
                .read(true)
                .write(true)
                .open(&path)
                .map(|file| Channel::Port(file.into()))
                .map_err(|error| format!("cannot open the agent's port {}: {error}", path.display()))
        }
        HostPort::Vsock(port) => {
            let port = *port;
            Ok(Channel::Dial(Box::new(move || dial(port))))
        }
    }
}

/// `/dev/vportNpM` whose name the VMM set to `name`.
fn find(name: &str) -> Result<PathBuf, String> {
    let end = Instant::now() + PORT_DEADLINE;
    loop {
        for entry in std::fs::read_dir("/sys/class/virtio-ports").into_iter().flatten().flatten() {
            if std::fs::read_to_string(entry.path().join("name")).is_ok_and(|found| found.trim_end() == name)
            {
                return Ok(PathBuf::from("/dev").join(entry.file_name()));
            }
        }
        if Instant::now() >= end {
            return Err(format!(
                "the virtio-serial port '{name}' did not appear within {} s; check the VM's virtserialport device and \
                 that the initramfs holds the virtio_console module",
                PORT_DEADLINE.as_secs()
            ));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A request that gets no answer is given up soon: a clone of a frozen machine waits in vain for the answer to its
/// template's.
fn dial(port: u32) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Vsock, SockType::Stream, flags, None)?;
    match connect(fd.as_raw_fd(), &VsockAddr::new(HOST_CID, port)) {
        Ok(()) => return Ok(fd),
        Err(Errno::EINPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let mut waiting = [PollFd::new(&fd, PollFlags::OUT)];
    if rustix::event::poll(&mut waiting, Some(&DIAL_DEADLINE))? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    match rustix::net::sockopt::socket_error(&fd)? {
        Ok(()) => Ok(fd),
        Err(error) => Err(error.into()),
    }
}
