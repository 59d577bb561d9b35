//! What is left of a machine's connections when its address goes to the next one.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests: helpers may fail the test, too")]

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::common::{INTERNET, World, machine, udp};
use fireactions_model::NetworkPolicy;
use fireactions_net::{Network, Port};

const PORT: u16 = 7000;
const WAIT: Duration = Duration::from_secs(30);

fn entries(world: &World, address: Ipv4Addr) -> usize {
    let all = world.host.sh("cat /proc/net/nf_conntrack");
    all.lines().filter(|line| line.contains(&format!("={address} "))).count()
}

/// The machines that have slot 0 one after the other, and with it address and MAC.
fn tenant(world: &World, number: u32) -> Port {
    let machine = machine(number);
    Port { tap: Network::tap_name(&machine), machine, ..world.port(0, NetworkPolicy::default()) }
}

#[test]
fn an_earlier_tenants_flow_does_not_reach_the_next_one() {
    let world = World::new();
    let address = world.network.address(0).unwrap();
    let internet = udp(&world.internet, INTERNET, PORT, WAIT);
    let mut buffer = [0; 64];

    let first = world.guest_of(tenant(&world, 1));
    let socket = udp(&first.ns, Ipv4Addr::UNSPECIFIED, 4000, WAIT);
    socket.send_to(b"first", (INTERNET, PORT)).unwrap();
    let (_, way_back) = internet.recv_from(&mut buffer).unwrap();
    internet.send_to(b"answer", way_back).unwrap();
    assert_eq!(socket.recv(&mut buffer).unwrap(), 6, "its own answer arrives");
    // Another machine's connections stay.
    let other = world.guest(5, NetworkPolicy::default());
    let others = udp(&other.ns, Ipv4Addr::UNSPECIFIED, 4001, WAIT);
    others.send_to(b"other", (INTERNET, PORT)).unwrap();
    let (_, to_other) = internet.recv_from(&mut buffer).unwrap();
    assert!(entries(&world, address) > 0 && entries(&world, other.port.address) > 0);

    world.host.block_on(|| world.network.detach(&first.port.machine)).unwrap();
    assert_eq!(entries(&world, address), 0, "detached");
    let second = world.guest_of(tenant(&world, 2));
    let socket = udp(&second.ns, Ipv4Addr::UNSPECIFIED, 4000, WAIT);
    internet.send_to(b"late answer to the first", way_back).unwrap();
    socket.send_to(b"second", (INTERNET, PORT)).unwrap();
    let (_, way_back) = internet.recv_from(&mut buffer).unwrap();
    internet.send_to(b"hello", way_back).unwrap();
    let length = socket.recv(&mut buffer).unwrap();
    assert_eq!(String::from_utf8_lossy(&buffer[..length]), "hello");
    internet.send_to(b"for the other", to_other).unwrap();
    assert_eq!(others.recv(&mut buffer).unwrap(), 13);
}

#[test]
fn what_a_killed_server_left_is_forgotten_before_the_address_is_used_again() {
    let world = World::new();
    let address = world.network.address(0).unwrap();
    // As connections come back that were made while nobody looked: from the address, and by the host to it.
    let guest = world.guest_of(tenant(&world, 1));
    let internet = udp(&world.internet, INTERNET, PORT, WAIT);
    udp(&guest.ns, Ipv4Addr::UNSPECIFIED, 4000, WAIT).send_to(b"first", (INTERNET, PORT)).unwrap();
    internet.recv_from(&mut [0; 64]).unwrap();
    udp(&world.host, Ipv4Addr::UNSPECIFIED, 4002, WAIT).send_to(b"host", (address, 9)).unwrap();
    assert_eq!(entries(&world, address), 2);
    let tap = guest.port.tap.clone();
    drop(guest);
    world.host.sh(&format!("ip link delete {tap}"));
    let next = world.host.block_on(|| Network::ensure(crate::common::config())).unwrap();
    let port = tenant(&world, 2);
    world.host.block_on(|| next.attach(&port)).unwrap();
    assert_eq!(entries(&world, address), 0);
    // Attached again, as it may be at any time, a machine keeps the connections that it has.
    udp(&world.host, Ipv4Addr::UNSPECIFIED, 4002, WAIT).send_to(b"host", (address, 9)).unwrap();
    assert_eq!(entries(&world, address), 1);
    world.host.block_on(|| next.attach(&port)).unwrap();
    assert_eq!(entries(&world, address), 1);
}
