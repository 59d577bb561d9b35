//! Attaching to a tap device, so that an unprivileged VMM can be given it as an open descriptor.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use fireactions_model::ExponentialBackoff;

/// Longest wait for a tap that is busy.
const BUSY: Duration = Duration::from_secs(2);

/// Opens the queue of the existing tap `name` once nobody else has it. That is a moment, now and then: a process that was
/// forked for another machine has every descriptor of the server until it execs, so also that by which the tap was made.
pub(crate) async fn open_when_free(name: &str) -> io::Result<OwnedFd> {
    let mut pauses = ExponentialBackoff::new(Duration::from_millis(2), Duration::from_millis(100));
    let end = Instant::now() + BUSY;
    loop {
        match open(name) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < end => {
                tokio::time::sleep(pauses.failed(rand::random())).await;
            }
            opened => return opened,
        }
    }
}

/// Opens the queue of the existing tap `name`. The kernel makes an absent one, so the caller asks first.
pub(crate) fn open(name: &str) -> io::Result<OwnedFd> {
    // Not by /sys/class/net: a sysfs shows the network namespace of whoever mounted it.
    nix::net::if_::if_nametoindex(name)?;
    let file =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    attach(&file, name)?;
    Ok(file.into())
}

/// Makes the tap `name`, which stays when it is closed and which `owner` may open.
#[allow(unsafe_code)]
pub(crate) fn create(name: &str, owner: u32) -> io::Result<()> {
    let file =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    attach(&file, name)?;
    for (request, value) in [(libc::TUNSETOWNER, libc::c_ulong::from(owner)), (libc::TUNSETPERSIST, 1)] {
        // SAFETY: both take a plain integer and touch no memory; the descriptor is open for as long as `file` is.
        if unsafe { libc::ioctl(file.as_raw_fd(), request, value) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// `IFF_VNET_HDR` lets the guest leave checksums and segmentation to the host; QEMU asks the descriptor for it.
#[allow(unsafe_code)]
fn attach(file: &File, name: &str) -> io::Result<()> {
    const FLAGS: libc::c_int = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() >= libc::IFNAMSIZ {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "an interface name has 1 to 15 bytes"));
    }
    let mut ifr_name = [0; libc::IFNAMSIZ];
    for (to, from) in ifr_name.iter_mut().zip(bytes) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    let flags = libc::c_short::try_from(FLAGS).map_err(io::Error::other)?;
    let mut request = libc::ifreq { ifr_name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags } };
    // SAFETY: TUNSETIFF reads and writes one `struct ifreq`, which `request` is, fully initialised in its name and
    // flags, and which outlives the call; the descriptor is open for as long as `file` is borrowed.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tap_that_somebody_has_for_a_moment_is_waited_for() {
        let run = || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            create("fabusy0", 0).unwrap();
            let held = open("fabusy0").unwrap();
            assert_eq!(open("fabusy0").unwrap_err().raw_os_error(), Some(libc::EBUSY));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            // The second begins when the first waits.
            runtime
                .block_on(async { tokio::join!(open_when_free("fabusy0"), async { drop(held) }).0 })
                .unwrap();
        };
        std::thread::spawn(run).join().unwrap();
    }
}
