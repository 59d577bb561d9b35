//! Attaching to a tap device, so that an unprivileged VMM can be given it as an open descriptor.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

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
