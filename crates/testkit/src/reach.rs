//! What of a host's network a process reaches, tried from where the process is.

// Only tests link this crate, and there a failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};
use std::time::Duration;

use rustix::thread::LinkNameSpaceType;

/// For whoever neither connects nor is refused.
const LIMIT: Duration = Duration::from_secs(5);
const GREETING: &[u8; 5] = b"hello";

/// Doors of a host that whoever finds them walks through: an abstract Unix socket and a TCP port on every address. They are
/// open for as long as the test's process lives.
#[derive(Debug, Clone)]
pub struct Doors {
    name: String,
    port: u16,
}

impl Doors {
    /// Opens them in the calling thread's network namespace. `name`: of the abstract socket, unique to the test.
    pub fn open(name: &str) -> Self {
        let unix = UnixListener::bind_addr(&UnixAddr::from_abstract_name(name).unwrap()).unwrap();
        let tcp = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        std::thread::spawn(move || unix.incoming().flatten().for_each(greet));
        std::thread::spawn(move || tcp.incoming().flatten().for_each(greet));
        Self { name: name.to_owned(), port }
    }

    /// What a process reaches: network devices beside the loopback, by name, sorted; `@` for the abstract socket; each of the
    /// `addresses` at which the port answers. Tried in the process's network namespace, with all rights.
    pub fn reached_from(&self, pid: u32, addresses: &[IpAddr]) -> Vec<String> {
        let namespace = File::open(format!("/proc/{pid}/ns/net")).unwrap();
        std::thread::scope(|scope| {
            let tries = scope.spawn(move || {
                rustix::thread::move_into_link_name_space(
                    namespace.as_fd(),
                    Some(LinkNameSpaceType::Network),
                )
                .expect("root enters any namespace");
                self.reached(addresses)
            });
            tries.join().unwrap()
        })
    }

    /// The same, from where the calling thread is.
    pub fn reached(&self, addresses: &[IpAddr]) -> Vec<String> {
        let devices = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        let devices = devices.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
        let mut reached: Vec<String> = devices.filter(|name| name != "lo").collect();
        reached.sort();
        let name = UnixAddr::from_abstract_name(&self.name).unwrap();
        if UnixStream::connect_addr(&name).is_ok_and(greeted) {
            reached.push("@".to_owned());
        }
        for address in addresses {
            let target = SocketAddr::new(*address, self.port);
            if TcpStream::connect_timeout(&target, LIMIT).is_ok_and(greeted) {
                reached.push(address.to_string());
            }
        }
        reached
    }
}

fn greet(mut to: impl Write) {
    let _ = to.write_all(GREETING);
}

fn greeted(mut by: impl Read) -> bool {
    let mut heard = [0; GREETING.len()];
    by.read_exact(&mut heard).is_ok() && heard == *GREETING
}
