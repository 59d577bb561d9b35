//! A port of this host that nobody else is given while a program starts, stops and starts again on it.

// Only tests link this crate, and there a failed setup is a failed test.
#![allow(clippy::expect_used)]

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket, sockopt};

/// Bound, and not listened at: whoever connects is refused. The kernel gives such a port to nobody who asks for any that is
/// free. A server that allows its address to be used again (`SO_REUSEADDR`, as most do) may still listen there.
#[derive(Debug)]
pub struct ReservedPort {
    _socket: OwnedFd,
    address: SocketAddr,
}

impl ReservedPort {
    /// In the network namespace of the calling thread. Port 0 is any that is free.
    ///
    /// # Panics
    ///
    /// When somebody listens there, or the address is not this host's.
    pub fn new(at: SocketAddr) -> Self {
        let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket(family, SocketType::STREAM, None).expect("a socket");
        sockopt::set_socket_reuseaddr(&socket, true).expect("an address that is used again");
        bind(&socket, &at).unwrap_or_else(|error| panic!("{at} cannot be reserved: {error}"));
        let address = getsockname(&socket).ok().and_then(|address| address.try_into().ok());
        Self { _socket: socket, address: address.expect("an address of the internet") }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn who_connects_is_refused_until_a_server_listens() {
        let port = ReservedPort::new((Ipv4Addr::LOCALHOST, 0).into());
        let refused = TcpStream::connect(port.address()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        for _ in 0..2 {
            let _server = TcpListener::bind(port.address()).unwrap();
            TcpStream::connect(port.address()).unwrap();
        }
        let stubborn = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        assert!(bind(&stubborn, &port.address()).is_err(), "the port was given away");
    }
}
