//! Taps, opened by name as Firecracker opens them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens a tap. The stand-in's jail is no root directory, but has the device at the same place.
pub(crate) fn open(name: &str) -> Result<File, String> {
    let device = ["dev/net/tun", "/dev/net/tun"].into_iter().find(|path| Path::new(path).exists());
    let device = device.unwrap_or("/dev/net/tun");
    let opened = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(device);
    let file = opened.map_err(|error| format!("Couldn't open /dev/net/tun: {error}"))?;
    if name.is_empty() || name.len() >= libc::IFNAMSIZ {
        return Err("Invalid interface name".to_owned());
    }
    attach(&file, name).map_err(|error| {
        format!(
            "Error while creating ifreq structure: {error}. Invalid TUN/TAP Backend provided by {name}. Check our \
             documentation on setting up the network devices."
        )
    })?;
    Ok(file)
}

#[allow(unsafe_code)]
fn attach(file: &File, name: &str) -> io::Result<()> {
    let mut ifr_name = [0; libc::IFNAMSIZ];
    for (to, from) in ifr_name.iter_mut().zip(name.as_bytes()) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    let flags = libc::c_short::try_from(flags).map_err(io::Error::other)?;
    let mut request = libc::ifreq { ifr_name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags } };
    // SAFETY: TUNSETIFF reads and writes one `struct ifreq`, which `request` is, fully initialised in its name and
    // flags, and which outlives the call; the descriptor is open for as long as `file` is borrowed.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
