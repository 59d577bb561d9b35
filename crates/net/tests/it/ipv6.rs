//! IPv6 of guests: as isolated as IPv4. Every address that must not answer does answer somebody else in the same test.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests: helpers may fail the test, too")]

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::common::{Guest, World, call, config, dropped, open, serve};
use fireactions_model::NetworkPolicy;
use fireactions_net::{Ipv6Config, NetConfig, Network};

/// Far away.
const INTERNET: &str = "2a00:2::9";
/// Where the host's uplink leads to, and the host there.
const NEXT_TO_HOST: &str = "2a00:1::9";
const HOST: &str = "2a00:1::1";
/// What is not of the public internet: unique local, documentation, and three ways to say 10.1.2.3.
const RESERVED: [&str; 5] =
    ["fd00:5::1", "2001:db8::1", "64:ff9b::a01:203", "2002:a01:203::1", "2001:0:a01:203::1"];
const ANY: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn world(nat: bool) -> World {
    let ipv6 = Ipv6Config { subnet: "fd12:3456:789a::/64".parse().unwrap(), nat };
    let world = World::with(NetConfig { ipv6: Some(ipv6), ..config() });
    world
        .host
        .sh(&format!("ip address add {HOST}/64 dev up0 nodad; ip route add default via {NEXT_TO_HOST}"));
    world.internet.sh(&format!("ip address add {NEXT_TO_HOST}/64 dev net0 nodad"));
    for foreign in [&[INTERNET][..], &RESERVED].concat() {
        world.internet.sh(&format!("ip address add {foreign}/128 dev net0 nodad"));
    }
    world
}

fn repair(world: &World) -> bool {
    world.host.block_on(|| world.network.repair()).unwrap()
}

#[test]
fn the_internet_is_reached_masqueraded_and_nothing_else_is() {
    let world = world(true);
    let everything = NetworkPolicy { allow: vec!["0.0.0.0/0".parse().unwrap()], ..NetworkPolicy::default() };
    let (guest, other) = (world.guest(0, everything.clone()), world.guest(1, everything));
    for ns in [&world.internet, &world.host, &other.ns] {
        serve(ns, ANY, 80);
    }
    // The host's links were made after the rules: they name what those lead to once they are looked at again.
    assert!(repair(&world) && !repair(&world));
    assert_eq!(call(&guest.ns, ip(INTERNET), 80).as_deref(), Some(HOST));
    for address in [&[NEXT_TO_HOST][..], &RESERVED].concat() {
        assert!(call(&world.host, ip(address), 80).is_some(), "the host reaches {address}");
        assert!(dropped(&guest.ns, ip(address), 80), "a guest must not reach {address}");
    }
    let (gateway, _) = world.network.gateway6().unwrap();
    for address in [ip(HOST), gateway] {
        assert!(call(&world.host, address, 80).is_some(), "the host listens at {address}");
        assert!(dropped(&guest.ns, address, 80), "a guest must not reach the host at {address}");
    }
    // Another guest: on the bridge, told how to reach it, and by way of the gateway.
    let to = other.port.address6.unwrap();
    assert!(call(&other.ns, to, 80).is_some());
    let mac = other.port.mac.map(|byte| format!("{byte:02x}")).join(":");
    guest.ns.sh(&format!("ip neigh replace {to} lladdr {mac} dev eth0"));
    assert!(dropped(&guest.ns, to, 80), "over the bridge");
    guest.ns.sh(&format!("ip route add {to}/128 via {gateway}"));
    assert!(dropped(&guest.ns, to, 80), "through the gateway");
    // A link of the host leads to what was far away before.
    world.host.sh("ip route add 2a00:2::/64 dev up0");
    assert!(repair(&world), "that is seen");
    assert!(call(&world.host, ip(INTERNET), 80).is_some());
    assert!(dropped(&guest.ns, ip(INTERNET), 80));
}

#[test]
fn a_routed_network_is_seen_outside_and_not_reached_from_there() {
    let world = world(false);
    let guest = world.guest(0, NetworkPolicy { max_connections: 1, ..NetworkPolicy::default() });
    serve(&world.internet, ANY, 80);
    serve(&guest.ns, ANY, 80);
    world.internet.sh(&format!("ip route add fd12:3456:789a::/64 via {HOST}"));
    let own = guest.port.address6.unwrap();
    let (seen, first) = open(&guest.ns, ip(INTERNET), 80, Duration::from_secs(5)).unwrap();
    assert_eq!(seen, own.to_string());
    assert!(dropped(&guest.ns, ip(INTERNET), 80), "more connections than it may have");
    drop(first);
    assert!(dropped(&world.internet, own, 80), "from outside");
    let entries =
        || world.host.sh("cat /proc/net/nf_conntrack").lines().filter(|line| line.contains("ipv6")).count();
    assert!(entries() > 0);
    world.host.block_on(|| world.network.detach(&guest.port.machine)).unwrap();
    assert_eq!(entries(), 0, "its connections are forgotten with it");
}

#[test]
fn a_host_that_routes_goes_on_to_believe_its_own_router() {
    let world = World::new();
    let believes = |link: &str| world.host.sh(&format!("cat /proc/sys/net/ipv6/conf/{link}/accept_ra"));
    let off = |link: &str| world.host.sh(&format!("cat /proc/sys/net/ipv6/conf/{link}/disable_ipv6"));
    assert_eq!((believes("up0").trim(), off("fireactions0").trim()), ("1", "1"));
    let ipv6 = Ipv6Config { subnet: "fd12:3456:789a::/64".parse().unwrap(), nat: true };
    let ensure = |ipv6| {
        let network = world.host.block_on(|| Network::ensure(NetConfig { ipv6, ..config() }));
        network.unwrap().gateway6()
    };
    assert_eq!(ensure(Some(ipv6)), Some((ip("fd12:3456:789a::1"), 64)));
    assert_eq!((believes("up0").trim(), off("fireactions0").trim()), ("2", "0"));
    assert_eq!(ensure(None), None);
    assert_eq!(off("fireactions0").trim(), "1", "and without it there is none");
}

/// A solicitation for the gateway, from this address and with this MAC in it and around it.
fn solicitation(from: Ipv6Addr, target: Ipv6Addr, bridge: [u8; 6], mac: [u8; 6]) -> Vec<u8> {
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    message.extend([1, 1]);
    message.extend(mac);
    let length = u16::try_from(message.len()).unwrap();
    let pseudo = [&from.octets()[..], &target.octets(), &[0, 0, 0, 32, 0, 0, 0, 58], &message].concat();
    let mut sum: u32 = pseudo.chunks(2).map(|two| u32::from(u16::from_be_bytes([two[0], two[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    message[2..4].copy_from_slice(&(!u16::try_from(sum).unwrap()).to_be_bytes());
    let header =
        [&[0x60, 0, 0, 0][..], &length.to_be_bytes(), &[58, 255], &from.octets(), &target.octets()].concat();
    [&bridge[..], &mac, &[0x86, 0xdd], &header, &message].concat()
}

#[test]
fn a_guest_cannot_take_another_ones_address() {
    let world = world(true);
    let (port, tap) = world.raw(0, NetworkPolicy::default());
    let other: Guest = world.guest(1, NetworkPolicy::default());
    let (gateway, _) = world.network.gateway6().unwrap();
    let bridge = [2, 0xfb, 172, 30, 0, 1];
    // What was written to a tap is through the bridge and the rules when the write returns.
    let mut tap = File::from(tap);
    let mut send = |from: Ipv6Addr| {
        let frame = solicitation(from, gateway, bridge, port.mac);
        // A virtio-net header that asks for nothing.
        tap.write_all(&[&[0; 10][..], &frame].concat()).unwrap();
    };
    let known = |address: Ipv6Addr| {
        let mac = port.mac.map(|byte| format!("{byte:02x}")).join(":");
        let all = world.host.sh("ip -6 neigh show dev fireactions0");
        all.lines().any(|line| line.starts_with(&format!("{address} ")) && line.contains(&mac))
    };
    let (own, others) = (port.address6.unwrap(), other.port.address6.unwrap());
    send(others);
    send(own);
    assert!(known(own), "its own is taken: {}", world.host.sh("ip -6 neigh show dev fireactions0"));
    assert!(!known(others));
}
