//! A network card whose frames pass here, between QEMU and the tap: those to the metadata service go no further.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use super::stack::Stack;

/// The longest frame, with room to spare.
const FRAME_MAX: usize = 65_600;
/// What stands before each frame on the tap (`struct virtio_net_hdr`). All zero: nothing is left for others to compute, neither
/// is anything that the host sends, for nobody has told the tap that we could.
const HEADER: usize = 10;

/// QEMU's end of a card: a socket with one frame in each datagram.
pub(crate) struct Card(UnixDatagram);

impl Card {
    /// Passes frames until the process ends.
    pub(crate) fn start(tap: File, stack: Stack) -> io::Result<Self> {
        let (own, qemu) = UnixDatagram::pair()?;
        let (to_guest, mut to_host) = (own.try_clone()?, tap.try_clone()?);
        let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
        named("card-in").spawn(move || inwards(tap, &to_guest))?;
        named("card-out").spawn(move || outwards(&own, &mut to_host, stack))?;
        Ok(Self(qemu))
    }
}

impl AsFd for Card {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// From the host to the guest, until the tap is gone.
fn inwards(mut tap: File, guest: &UnixDatagram) {
    let mut buffer = vec![0; HEADER + FRAME_MAX];
    loop {
        match tap.read(&mut buffer) {
            // A guest that takes no frames stops the host's, as its card's full queue does.
            Ok(count) if count > HEADER => drop(guest.send(&buffer[HEADER..count])),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let _ = poll(&mut [PollFd::new(&tap, PollFlags::IN)], None);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// From the guest to the host, or to the service.
fn outwards(guest: &UnixDatagram, tap: &mut File, mut stack: Stack) {
    let mut buffer = vec![0; HEADER + FRAME_MAX];
    loop {
        let quiet = stack.quiet().map(|quiet| quiet.max(Duration::from_millis(1)));
        let _ = guest.set_read_timeout(quiet);
        match guest.recv(&mut buffer[HEADER..]) {
            Ok(count) if stack.take(&buffer[HEADER..][..count]) => {}
            // A tap that is down, or full, loses frames, as a cable does.
            Ok(count) => drop(tap.write(&buffer[..HEADER + count])),
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {
                stack.work();
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
        while let Some(frame) = stack.next() {
            let _ = guest.send(&frame);
        }
    }
}
