//! What is needed of QEMU's command line: the descriptors of three sockets, and the kernel's arguments.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

use crate::faults::Faults;

/// The inherited sockets, all of them listening, and the faults to be shown.
pub(crate) struct Arguments {
    pub(crate) qmp: UnixListener,
    pub(crate) console: UnixListener,
    pub(crate) agent: UnixListener,
    pub(crate) faults: Faults,
}

impl Arguments {
    /// The error is for people.
    pub(crate) fn parse(given: &[String]) -> Result<Self, String> {
        let values = |option: &'static str| {
            given.windows(2).filter(move |pair| pair[0] == option).map(|pair| pair[1].as_str())
        };
        let listener = |id: &str| {
            let number = values("-chardev").find_map(|text| socket_of(text, id));
            let number =
                number.ok_or_else(|| format!("no -chardev socket,id={id},fd=NUMBER on the command line"))?;
            let fd = inherited(number).map_err(|error| format!("descriptor {number} ({id}): {error}"))?;
            Ok::<_, String>(UnixListener::from(fd))
        };
        Ok(Self {
            qmp: listener("qmp")?,
            console: listener("console")?,
            agent: listener("agent")?,
            faults: values("-append").map(Faults::parse).next().transpose()?.unwrap_or_default(),
        })
    }
}

/// The descriptor of `socket,id=ID,fd=NUMBER,…`.
fn socket_of(text: &str, id: &str) -> Option<i32> {
    let rest = text.strip_prefix("socket,id=")?.strip_prefix(id)?.strip_prefix(",fd=")?;
    rest.split(',').next()?.parse().ok()
}

/// Owns a copy of a descriptor that was inherited by its number. Asking the kernel for a descriptor of one's own
/// process is the safe way to do so; the inherited one stays open as well, which harms nobody.
fn inherited(number: i32) -> rustix::io::Result<OwnedFd> {
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    pidfd_getfd(own, number, PidfdGetfdFlags::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_s_chardevs_are_understood() {
        assert_eq!(socket_of("socket,id=qmp,fd=5,server=on,wait=off", "qmp"), Some(5));
        assert_eq!(socket_of("socket,id=qmp,fd=5", "agent"), None);
        let error = Arguments::parse(&["-M".into(), "microvm".into()]).err().unwrap();
        assert!(error.contains("id=qmp"), "{error}");
    }
}
