//! Listeners on addresses that a job must not reach. They answer the host, which is what makes a job's failure to
//! reach them mean something.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};

/// The port that every target listens on.
pub(crate) const PORT: u16 = 8080;
/// Cloud metadata.
pub(crate) const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// The host's address in a private network of its own.
pub(crate) const LAN: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);

/// Gives this namespace the addresses, listens on all of its addresses, and checks that the listeners answer.
pub(crate) fn listen() -> anyhow::Result<()> {
    ip(&["link", "set", "lo", "up"])?;
    // A bridge without ports: every host that can run the server can make one, which is not so for dummy devices.
    ip(&["link", "add", "lan0", "type", "bridge"])?;
    ip(&["address", "add", &format!("{METADATA}/32"), "dev", "lan0"])?;
    ip(&["address", "add", &format!("{LAN}/24"), "dev", "lan0"])?;
    ip(&["link", "set", "lan0", "up"])?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).context("listening")?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"reached\n");
        }
    });
    for address in [METADATA, LAN] {
        ensure!(answers(address, PORT), "{address}:{PORT} does not even answer the host");
    }
    Ok(())
}

/// Connects from the host and reads a line.
pub(crate) fn answers(address: Ipv4Addr, port: u16) -> bool {
    let address = SocketAddrV4::new(address, port).into();
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(3)) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(3)));
    let mut byte = [0];
    stream.read_exact(&mut byte).is_ok()
}

fn ip(args: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip").args(args).output().context("ip (package iproute2)")?;
    ensure!(
        output.status.success(),
        "ip {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
