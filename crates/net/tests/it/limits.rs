//! Connections and bandwidth of one machine.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests: helpers may fail the test, too")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{INTERNET, NetNs, World, open, serve};
use fireactions_model::NetworkPolicy;

#[test]
fn a_machine_has_so_many_connections_and_no_more() {
    let world = World::new();
    serve(&world.internet, Ipv4Addr::UNSPECIFIED, 80);
    let limited = NetworkPolicy { max_connections: 3, ..NetworkPolicy::default() };
    let guest = world.guest(0, limited.clone());
    let other = world.guest(1, limited);
    let connect = |ns: &NetNs, wait| open(ns, INTERNET, 80, Duration::from_millis(wait));

    let mut held: Vec<_> = (0..3).map(|_| connect(&guest.ns, 5000).expect("one of three")).collect();
    assert!(connect(&guest.ns, 1200).is_none(), "the fourth");
    assert!(connect(&other.ns, 5000).is_some(), "another machine has its own count");
    // One ends (reset, so that neither side keeps it waiting) and makes room.
    let (_, stream) = held.pop().unwrap();
    nix::sys::socket::setsockopt(
        &stream,
        nix::sys::socket::sockopt::Linger,
        &libc::linger { l_onoff: 1, l_linger: 0 },
    )
    .unwrap();
    drop(stream);
    assert!(connect(&guest.ns, 5000).is_some(), "room again");
}

/// Seconds that `bytes` take from `from` to a listener in `to`.
fn transfer(to: &NetNs, address: Ipv4Addr, from: &NetNs, bytes: usize, download: bool) -> f64 {
    let listener = to.run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))).unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        if download { write(stream, bytes) } else { read(stream, bytes) }
    });
    let stream = from.run(|| TcpStream::connect((address, port))).unwrap();
    let start = Instant::now();
    if download {
        read(stream, bytes);
    } else {
        write(stream, bytes);
    }
    server.join().unwrap();
    start.elapsed().as_secs_f64()
}

fn write(mut stream: TcpStream, bytes: usize) {
    stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(&vec![7; bytes]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let _ = stream.read(&mut [0]);
}

fn read(mut stream: TcpStream, bytes: usize) {
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let (mut total, mut buffer) = (0, vec![0; 1 << 16]);
    loop {
        match stream.read(&mut buffer).unwrap() {
            0 => break,
            length => total += length,
        }
    }
    assert_eq!(total, bytes);
}

#[test]
fn bandwidth_is_limited_both_ways_and_only_where_asked() {
    const MBIT: u32 = 40;
    let world = World::new();
    let free = world.guest(0, NetworkPolicy::default());
    let slow = world.guest(1, NetworkPolicy { bandwidth_mbit: Some(MBIT), ..NetworkPolicy::default() });
    // 5 MB/s, and a bucket of one second's worth and 128 KiB that passes at once.
    let bytes = 20_000_000;
    let least = (f64::from(u32::try_from(bytes).unwrap()) - 5_131_072.0) / 5_000_000.0;
    for download in [false, true] {
        let unlimited = transfer(&world.internet, INTERNET, &free.ns, bytes, download);
        let limited = transfer(&world.internet, INTERNET, &slow.ns, bytes, download);
        println!("download {download}: free {unlimited:.2} s, limited {limited:.2} s, at least {least:.2} s");
        assert!(unlimited < least, "the path itself is faster: {unlimited:.2} s");
        assert!(limited > 0.95 * least, "{limited:.2} s is faster than {MBIT} Mbit/s allow");
        assert!(limited < 4.0 * least, "{limited:.2} s: a limited machine must still get most of its rate");
    }
}
