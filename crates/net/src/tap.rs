//! Taps: made persistent, so that they outlive a server that restarts under a running machine. A VMM opens its own.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;

use crate::NetError;

/// Makes the persistent tap `name`, or takes the existing one, and gives it to `owner`.
pub(crate) fn create(name: &str, owner: u32) -> Result<(), NetError> {
    let file = device(name)?;
    let failed = |source| NetError::Tap { action: "make", tap: name.into(), source };
    match ioctl::set_interface(&file, name) {
        Ok(()) => {}
        // A VMM holds it: it exists, and was made by an earlier attach.
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) && exists(name) => return Ok(()),
        Err(error) => return Err(failed(error)),
    }
    ioctl::set_owner(&file, owner).and_then(|()| ioctl::set_persist(&file, true)).map_err(failed)
}

/// Removes the tap, unless a VMM has it: it ends with its last descriptor.
pub(crate) fn abandon(name: &str) -> Result<(), NetError> {
    let file = device(name)?;
    let failed = |source| NetError::Tap { action: "abandon", tap: name.into(), source };
    ioctl::set_interface(&file, name).and_then(|()| ioctl::set_persist(&file, false)).map_err(failed)
}

fn exists(name: &str) -> bool {
    nix::net::if_::if_nametoindex(name).is_ok()
}

fn device(tap: &str) -> Result<File, NetError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open("/dev/net/tun")
        .map_err(|source| NetError::Tap { action: "open /dev/net/tun for", tap: tap.into(), source })
}

/// The only unsafe code: three ioctls of linux/if_tun.h.
#[allow(unsafe_code, reason = "neither nix nor rustix wraps the ioctls of /dev/net/tun")]
mod ioctl {
    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd;

    nix::ioctl_write_ptr_bad!(tun_set_iff, libc::TUNSETIFF, libc::ifreq);
    nix::ioctl_write_int_bad!(tun_set_persist, libc::TUNSETPERSIST);
    nix::ioctl_write_int_bad!(tun_set_owner, libc::TUNSETOWNER);

    pub(super) fn set_interface(file: &File, name: &str) -> io::Result<()> {
        let mut ifr_name = [0; libc::IFNAMSIZ];
        if name.is_empty() || name.len() >= ifr_name.len() || !name.is_ascii() {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        for (to, from) in ifr_name.iter_mut().zip(name.bytes()) {
            *to = from.cast_signed();
        }
        // The flags are below 0x8000: the cast to i16 keeps them.
        #[allow(clippy::cast_possible_truncation)]
        let flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short;
        let request = libc::ifreq { ifr_name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags } };
        // SAFETY: `file` is open, and `request` is a whole, initialised ifreq that lives through the call.
        unsafe { tun_set_iff(file.as_raw_fd(), &raw const request) }?;
        Ok(())
    }

    pub(super) fn set_persist(file: &File, persists: bool) -> io::Result<()> {
        // SAFETY: `file` is open; the argument is a plain integer.
        unsafe { tun_set_persist(file.as_raw_fd(), i32::from(persists)) }?;
        Ok(())
    }

    pub(super) fn set_owner(file: &File, uid: u32) -> io::Result<()> {
        // SAFETY: `file` is open; the argument is a plain integer, read back as a uid by the kernel.
        unsafe { tun_set_owner(file.as_raw_fd(), uid.cast_signed()) }?;
        Ok(())
    }
}
