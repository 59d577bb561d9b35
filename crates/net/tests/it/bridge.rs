//! Whose the bridge is.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests: helpers may fail the test, too")]

use std::net::Ipv4Addr;

use crate::common::{INTERNET, NetNs, World, call, config, serve};
use fireactions_model::NetworkPolicy;
use fireactions_net::{NetConfig, NetError, Network};

#[test]
fn a_bridge_that_somebody_else_made_is_refused_and_left_alone() {
    let ns = NetNs::new();
    ns.sh("ip link add fireactions0 type bridge; ip address add 192.168.50.1/24 dev fireactions0; ip link set fireactions0 up");
    let state = || ns.sh("ip -o link show fireactions0; ip -4 -o address show; nft list ruleset");
    let before = state();
    let refused = ns.block_on(|| Network::ensure(config())).err();
    assert!(
        matches!(&refused, Some(NetError::ForeignBridge { name, .. }) if name == "fireactions0"),
        "{refused:?}"
    );
    let words = refused.unwrap().to_string();
    assert!(words.contains("network.bridge") && words.contains("ip link delete fireactions0"), "{words}");
    assert_eq!(state(), before);
}

#[test]
fn a_bridge_of_an_earlier_server_is_taken_over_with_what_others_gave_it() {
    // As the server before this one left it in the middle of making it: a bridge with its MAC, and nothing else.
    let ns = NetNs::new();
    ns.sh("ip link add fireactions0 address 02:fb:ac:1e:00:01 type bridge");
    ns.block_on(|| Network::ensure(config())).unwrap();
    let addresses = || ns.sh("ip -4 -o address show dev fireactions0");
    assert!(addresses().contains("172.30.0.1/22"), "{}", addresses());
    // Somebody else's address stays through everything, a change of ours included.
    ns.sh("ip address add 192.168.50.1/24 dev fireactions0");
    let changed = || NetConfig { subnet: "10.77.0.0/24".parse().unwrap(), ..config() };
    let network = ns.block_on(|| Network::ensure(changed())).unwrap();
    let all = addresses();
    assert!(
        all.contains("10.77.0.1/24") && all.contains("192.168.50.1/24") && !all.contains("172.30."),
        "{all}"
    );
    ns.block_on(|| Network::ensure(NetConfig { subnet: "10.77.0.0/20".parse().unwrap(), ..config() }))
        .unwrap();
    let all = addresses();
    assert!(all.contains("10.77.0.1/20") && !all.contains("10.77.0.1/24"), "{all}");
    ns.block_on(|| network.remove()).unwrap();
    assert!(!ns.try_sh("ip link show fireactions0").0);
}

#[test]
fn a_bridge_that_took_our_bridges_name_is_not_removed() {
    let world = World::new();
    world.host.sh("ip link delete fireactions0; ip link add fireactions0 type bridge");
    world.host.block_on(|| world.network.remove()).unwrap();
    assert!(world.host.try_sh("ip link show fireactions0").0);
    assert_eq!(world.host.sh("nft list ruleset"), "");
}

#[test]
fn a_network_with_machines_is_not_moved_and_stays_as_it_is() {
    let world = World::new();
    let guest = world.guest(0, NetworkPolicy::default());
    serve(&world.internet, Ipv4Addr::UNSPECIFIED, 80);
    let rules = world.host.sh("nft -s list ruleset");
    let other = NetConfig { subnet: "10.99.0.0/24".parse().unwrap(), ..config() };
    let refused = world.host.block_on(|| Network::ensure(other.clone())).err();
    assert!(matches!(refused, Some(NetError::SubnetInUse { machines: 1, .. })), "{refused:?}");
    assert_eq!(world.host.sh("nft -s list ruleset"), rules);
    assert!(call(&guest.ns, INTERNET, 80).is_some());
    // A tap that a crash has left is nobody's: it is not let out by another network's rules.
    let tap = guest.port.tap.clone();
    drop(guest);
    world.host.block_on(|| Network::ensure(other)).unwrap();
    let group = |link: &str| world.host.sh(&format!("ip -d -o link show {link} | grep -o 'group [^ ]*'"));
    assert_eq!(group(&tap).trim(), format!("group {}", Ipv4Addr::new(10, 99, 0, 1).to_bits()));
}
