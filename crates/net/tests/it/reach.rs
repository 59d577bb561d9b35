//! What a guest reaches and what not. Every address that must not answer does answer somebody else in the same
//! test, so that a connection that fails is one that the rules dropped.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests: helpers may fail the test, too")]

use crate::common::{
    BENCHMARK, CGNAT, DNS, HOST_LAN, HOST_PUBLIC, INTERNET, METADATA, PRIVATE, World, call, config, dropped,
    open, serve, udp,
};
use fireactions_model::{NetworkPolicy, PortRule, Protocol};
use fireactions_net::NetConfig;
use std::net::Ipv4Addr;
use std::time::Duration;

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

fn host_port(port: u16) -> NetworkPolicy {
    NetworkPolicy { host_ports: vec![PortRule { protocol: Protocol::Tcp, port }], ..NetworkPolicy::default() }
}

#[test]
fn the_internet_is_reached_masqueraded() {
    let world = World::new();
    serve(&world.internet, ANY, 80);
    let guest = world.guest(0, NetworkPolicy::default());
    // The internet has no route to the guests' network: an answer is only possible to the host's address.
    assert_eq!(call(&guest.ns, INTERNET, 80).as_deref(), Some("9.9.9.1"));
    assert_eq!(world.host.sh("cat /proc/sys/net/ipv4/ip_forward").trim(), "1");
}

#[test]
fn segments_fit_the_narrowest_link_that_the_host_knows() {
    let world = World::new();
    serve(&world.internet, ANY, 80);
    let guest = world.guest(0, NetworkPolicy::default());
    let segment = || {
        let (_, open) = open(&guest.ns, INTERNET, 80, Duration::from_secs(5)).unwrap();
        let port = open.local_addr().unwrap().port();
        let said = guest.ns.sh(&format!("ss -tinH sport = :{port}"));
        let mss = said.split_whitespace().find_map(|word| word.strip_prefix("mss:"));
        mss.unwrap_or_else(|| panic!("{said}")).parse::<u32>().unwrap()
    };
    assert_eq!(segment(), 1448, "1500 bytes, less headers and timestamps");
    // Neither end has a narrow link, and both tell the other so.
    world.host.sh("ip link set up0 mtu 1300");
    assert_eq!(segment(), 1248);
}

#[test]
fn without_nat_the_internet_sees_the_guests_own_address() {
    let world = World::with(NetConfig { nat: false, ..config() });
    serve(&world.internet, ANY, 80);
    let guest = world.guest(0, NetworkPolicy::default());
    assert!(dropped(&guest.ns, INTERNET, 80), "there is no way back until somebody routes it");
    world.internet.sh("ip route add 172.30.0.0/22 via 9.9.9.1");
    assert_eq!(call(&guest.ns, INTERNET, 80), Some(guest.port.address.to_string()));
    // All else is as with it.
    assert!(call(&world.host, METADATA, 80).is_some());
    assert!(dropped(&guest.ns, METADATA, 80));
}

#[test]
fn reserved_networks_are_dropped_unless_the_pool_allows_them() {
    let world = World::new();
    serve(&world.internet, ANY, 80);
    let closed = world.guest(0, NetworkPolicy::default());
    let opened = world.guest(
        1,
        NetworkPolicy {
            // Overlapping and with host bits, as people write them.
            allow: vec!["10.1.0.9/16".parse().unwrap(), "10.1.2.0/24".parse().unwrap()],
            ..NetworkPolicy::default()
        },
    );
    for address in [PRIVATE, METADATA, CGNAT, BENCHMARK, DNS] {
        assert!(call(&world.host, address, 80).is_some(), "the host reaches {address}");
        assert!(dropped(&closed.ns, address, 80), "a guest must not reach {address}");
    }
    assert!(call(&opened.ns, PRIVATE, 80).is_some(), "10.1.0.0/16 is allowed");
    assert!(dropped(&opened.ns, METADATA, 80), "and nothing else");
}

#[test]
fn the_configured_dns_server_is_reached_on_its_port_only() {
    let world = World::new();
    serve(&world.internet, DNS, 53);
    serve(&world.internet, DNS, 80);
    let guest = world.guest(0, NetworkPolicy::default());
    assert!(call(&guest.ns, DNS, 53).is_some());
    assert!(call(&world.host, DNS, 80).is_some());
    assert!(dropped(&guest.ns, DNS, 80));

    let server = udp(&world.internet, DNS, 53, Duration::from_secs(5));
    let client = udp(&guest.ns, ANY, 0, Duration::from_secs(5));
    client.send_to(b"question", (DNS, 53)).unwrap();
    let mut buffer = [0; 32];
    let (length, from) = server.recv_from(&mut buffer).expect("a datagram from the guest");
    assert_eq!((&buffer[..length], from.ip().to_string().as_str()), (&b"question"[..], "9.9.9.1"));
    server.send_to(b"answer", from).unwrap();
    assert_eq!(client.recv(&mut buffer).expect("the answer comes back"), 6);
}

#[test]
fn a_dns_server_on_another_address_of_the_host_opens_its_port_only() {
    let world = World::with(NetConfig { dns: vec![HOST_LAN], ..NetConfig::default() });
    serve(&world.host, ANY, 53);
    serve(&world.host, ANY, 5000);
    let everything = NetworkPolicy { allow: vec!["0.0.0.0/0".parse().unwrap()], ..NetworkPolicy::default() };
    let guest = world.guest(0, everything);
    assert!(call(&guest.ns, HOST_LAN, 53).is_some());
    assert!(dropped(&guest.ns, HOST_LAN, 5000));
    assert!(dropped(&guest.ns, world.network.gateway(), 53), "the gateway is not the configured server");
}

#[test]
fn of_the_host_only_listed_ports_of_the_gateway_are_reached() {
    let world = World::new();
    let gateway = world.network.gateway();
    for port in [5000, 5001] {
        serve(&world.host, ANY, port);
    }
    let guest = world.guest(0, host_port(5000));
    let other = world.guest(1, NetworkPolicy::default());

    assert_eq!(call(&guest.ns, gateway, 5000), Some(guest.port.address.to_string()));
    assert!(dropped(&guest.ns, gateway, 5001), "a port that is not listed");
    assert!(dropped(&other.ns, gateway, 5000), "a port that is listed for another pool");
    for address in [HOST_PUBLIC, HOST_LAN] {
        assert!(call(&world.internet, HOST_PUBLIC, 5000).is_some(), "the listener is there for others");
        assert!(dropped(&guest.ns, address, 5000), "the host's other address {address}");
    }
    let (pings, _) = guest.ns.try_sh(&format!("timeout 2 ping -c 1 -W 1 {gateway} || exit 7"));
    assert!(!pings, "not even ping");
}

#[test]
fn the_guests_own_ports_are_open_to_them_and_the_host_alone() {
    let world = World::with(NetConfig { guest_ports: [5000].into(), ..config() });
    let gateway = world.network.gateway();
    for port in [5000, 5001] {
        serve(&world.host, ANY, port);
    }
    world.internet.sh("ip route add 172.30.0.0/22 via 9.9.9.1");
    let guest = world.guest(0, NetworkPolicy::default());
    assert_eq!(call(&guest.ns, gateway, 5000), Some(guest.port.address.to_string()));
    assert!(call(&world.host, gateway, 5000).is_some(), "the host's own programs");
    assert!(dropped(&guest.ns, gateway, 5001), "a port that is not theirs");
    for address in [HOST_PUBLIC, HOST_LAN] {
        assert!(dropped(&guest.ns, address, 5000), "the host's other address {address}");
    }
    // Whoever else knows the way to the gateway's address.
    assert!(call(&world.internet, gateway, 5001).is_some(), "the way is there");
    assert!(dropped(&world.internet, gateway, 5000));
    assert!(call(&world.internet, HOST_PUBLIC, 5000).is_some(), "another address's port is its own");
}

#[test]
fn an_allowed_network_does_not_open_the_host_or_other_guests() {
    let world = World::new();
    serve(&world.host, ANY, 5000);
    serve(&world.internet, ANY, 80);
    let everything = NetworkPolicy { allow: vec!["0.0.0.0/0".parse().unwrap()], ..NetworkPolicy::default() };
    let a = world.guest(0, everything.clone());
    let b = world.guest(1, everything);
    serve(&b.ns, ANY, 80);
    assert!(call(&a.ns, METADATA, 80).is_some(), "everything is allowed");
    assert!(call(&b.ns, b.port.address, 80).is_some(), "b listens");
    assert!(dropped(&a.ns, HOST_LAN, 5000));
    assert!(dropped(&a.ns, world.network.gateway(), 5000));
    // Another guest seems to be on the same wire: told how to reach it by MAC, and by way of the gateway.
    let mac = b.port.mac.map(|byte| format!("{byte:02x}")).join(":");
    a.ns.sh(&format!("ip neigh replace {} lladdr {mac} dev eth0", b.port.address));
    assert!(dropped(&a.ns, b.port.address, 80), "directly over the bridge");
    a.ns.sh(&format!("ip route add {}/32 via {}", b.port.address, world.network.gateway()));
    assert!(dropped(&a.ns, b.port.address, 80), "by hairpin through the gateway");
}

#[test]
fn colluding_guests_meet_only_when_the_rules_are_gone_and_repair_brings_them_back() {
    let world = World::new();
    let (a, b) = (world.guest(0, NetworkPolicy::default()), world.guest(1, NetworkPolicy::default()));
    serve(&b.ns, ANY, 80);
    let gateway = world.network.gateway();
    // Both send each other's traffic to the gateway.
    a.ns.sh(&format!("ip route add {}/32 via {gateway}", b.port.address));
    b.ns.sh(&format!("ip route add {}/32 via {gateway}", a.port.address));
    assert!(dropped(&a.ns, b.port.address, 80));
    assert!(!world.host.block_on(|| world.network.repair()).unwrap(), "nothing to repair");

    world.host.sh("nft flush ruleset");
    assert!(call(&a.ns, b.port.address, 80).is_some(), "without rules the host routes between them");
    assert!(world.host.block_on(|| world.network.repair()).unwrap());
    assert!(dropped(&a.ns, b.port.address, 80));
    serve(&world.internet, ANY, 80);
    assert!(call(&a.ns, INTERNET, 80).is_some(), "and the internet is back, too");
    assert!(!world.host.block_on(|| world.network.repair()).unwrap());
}

#[test]
fn guests_are_not_reached_from_outside() {
    let world = World::new();
    let guest = world.guest(0, NetworkPolicy::default());
    serve(&guest.ns, ANY, 80);
    serve(&world.internet, ANY, 80);
    let subnet = world.network.gateway();
    world
        .internet
        .sh(&format!("ip route add {subnet}/32 via 9.9.9.1; ip route add 172.30.0.0/22 via 9.9.9.1"));
    assert!(call(&guest.ns, INTERNET, 80).is_some(), "outwards works");
    assert!(dropped(&world.internet, guest.port.address, 80));
    world.host.sh("nft flush ruleset");
    assert!(call(&world.internet, guest.port.address, 80).is_some(), "it was the rules that stopped it");
}

#[test]
fn foreign_dnat_on_a_host_address_does_not_let_guests_through() {
    let world = World::new();
    serve(&world.internet, PRIVATE, 80);
    // As a container engine publishes a port.
    world.host.sh(
        "nft add table ip pub; nft 'add chain ip pub pre { type nat hook prerouting priority -100; }'; \
         nft add rule ip pub pre fib daddr type local tcp dport 8080 dnat to 10.1.2.3:80; \
         nft 'add chain ip pub post { type nat hook postrouting priority 100; }'; \
         nft add rule ip pub post ip daddr 10.1.2.3 masquerade",
    );
    let guest = world.guest(0, NetworkPolicy::default());
    assert!(dropped(&guest.ns, HOST_PUBLIC, 8080));
    assert!(dropped(&guest.ns, world.network.gateway(), 8080));
    world.host.sh("nft delete table inet fireactions; nft delete table bridge fireactions");
    assert!(call(&guest.ns, HOST_PUBLIC, 8080).is_some(), "without our rules it is open");
}
