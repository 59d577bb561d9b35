//! A tap as a VMM has it.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

nix::ioctl_write_ptr_bad!(tun_set_iff, libc::TUNSETIFF, libc::ifreq);

/// Opens the existing tap `name` in the network namespace of this thread: layer-2 frames, each after a virtio-net header,
/// non-blocking.
pub(crate) fn open_tap(name: &str) -> OwnedFd {
    nix::net::if_::if_nametoindex(name).expect("the tap is there");
    let file: File = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open("/dev/net/tun")
        .expect("open /dev/net/tun");
    let mut ifr_name = [0; libc::IFNAMSIZ];
    for (to, from) in ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    let ifru_flags = libc::c_short::try_from(flags).expect("below 0x8000");
    let request = libc::ifreq { ifr_name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags } };
    // SAFETY: `file` is open, and `request` is a whole, initialised ifreq that lives through the call.
    #[allow(unsafe_code, reason = "nix has no wrapper")]
    unsafe { tun_set_iff(file.as_raw_fd(), &raw const request) }.expect("open the tap");
    file.into()
}
