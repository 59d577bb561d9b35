//! The rules that we write by netlink, held against what the program `nft` makes of them as text.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests: helpers may fail the test, too")]

use crate::common::{DNS, NetNs, World, config};
use crate::life::policies;
use crate::text::script;
use fireactions_model::NetworkPolicy;
use fireactions_net::{Ipv6Config, NetConfig, NetError, Network, Port};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// What `nft` shows, sorted: without handles, which count what was there before, and without its own version.
fn shown(ns: &NetNs) -> Vec<String> {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.remove("handle");
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut all: Value = serde_json::from_str(&ns.sh("nft -j -s list ruleset")).unwrap();
    strip(&mut all);
    // Rules keep their order within their chain; all else has none.
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut lines = Vec::new();
    for object in all["nftables"].as_array_mut().unwrap() {
        if object.get("metainfo").is_some() {
            continue;
        }
        let mut place = 0;
        if let Some(rule) = object.get("rule") {
            let count = places.entry(format!("{}{}", rule["family"], rule["chain"])).or_default();
            *count += 1;
            place = *count;
        }
        if let Some(elements) = object.get_mut("map").and_then(|map| map.get_mut("elem")) {
            elements.as_array_mut().unwrap().sort_by_key(Value::to_string);
        }
        lines.push(format!("{object} {place}"));
    }
    lines.sort();
    lines
}

fn taken_by_nft(config: &NetConfig, gateway: Ipv4Addr, ports: &[Port]) -> NetNs {
    let ns = NetNs::new();
    let file = std::env::temp_dir().join(format!("fireactions-rules-{}", std::process::id()));
    std::fs::write(&file, script(config, gateway, ports)).unwrap();
    ns.sh(&format!("nft -f {}", file.display()));
    std::fs::remove_file(&file).unwrap();
    ns
}

#[test]
fn nft_shows_our_rules_as_it_shows_its_own() {
    let mut runner = TestRunner::deterministic();
    let mut policies: Vec<NetworkPolicy> =
        (0..30).map(|_| policies().new_tree(&mut runner).unwrap().current()).collect();
    policies.push(NetworkPolicy::default());
    let net = |text: &str| text.parse().unwrap();
    let net6 = "fd12:3456:789a::/64".parse().unwrap();
    policies.push(NetworkPolicy { allow: vec![net("0.0.0.0/0")], ..NetworkPolicy::default() });
    policies.push(NetworkPolicy {
        allow: vec![net("10.0.0.0/8"), net("11.0.0.0/8"), net("12.0.0.0/8")],
        ..NetworkPolicy::default()
    });
    policies.push(NetworkPolicy {
        allow: vec![net("224.0.0.0/3"), net("10.1.2.3/32")],
        ..NetworkPolicy::default()
    });
    for config in [
        NetConfig { dns: vec![DNS, Ipv4Addr::new(9, 9, 9, 1)], ..config() },
        config(),
        NetConfig { dns: vec![], nat: false, guest_ports: [5000].into(), ..config() },
        NetConfig { guest_ports: [5000, 5001, 65535].into(), ..config() },
        NetConfig { ipv6: Some(Ipv6Config { subnet: net6, nat: true }), ..config() },
        NetConfig { ipv6: Some(Ipv6Config { subnet: net6, nat: false }), nat: false, ..config() },
    ] {
        let world = World::with(config.clone());
        let slots = 0..u32::try_from(policies.len()).unwrap();
        let ports: Vec<Port> =
            slots.zip(&policies).map(|(slot, policy)| world.port(slot, policy.clone())).collect();
        for port in &ports {
            world.attach(port);
        }
        let theirs = taken_by_nft(&config, world.network.gateway(), &ports);
        let (ours, theirs) = (shown(&world.host), shown(&theirs));
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs);
        }
        assert_eq!(ours.len(), theirs.len());
    }
}

/// Tables that a server made which still had `nft` make them.
#[test]
fn tables_from_nft_are_taken_over_as_they_are() {
    let world = World::new();
    let port = world.port(0, NetworkPolicy { max_connections: 5, ..NetworkPolicy::default() });
    world.attach(&port);
    let whole = shown(&world.host);
    let file = std::env::temp_dir().join(format!("fireactions-tables-{}", std::process::id()));
    std::fs::write(&file, script(&config(), world.network.gateway(), std::slice::from_ref(&port))).unwrap();
    world.host.sh(&format!(
        "nft flush ruleset; nft -f {}; nft add set inet fireactions others \\{{ type mark\\; \\}}",
        file.display()
    ));
    std::fs::remove_file(&file).unwrap();
    let next = world.host.block_on(|| Network::ensure(config())).unwrap();
    let gone = world.host.block_on(|| next.adopt(vec![port.clone()])).unwrap();
    assert!(gone.is_empty());
    // The tables themselves are the same ones: they were not made anew.
    assert!(world.host.sh("nft list sets inet").contains("set others"));
    world.host.sh("nft delete set inet fireactions others");
    assert_eq!(shown(&world.host), whole);
    world.host.block_on(|| next.detach(&port.machine)).unwrap();
    assert!(world.host.block_on(|| next.attached()).unwrap().is_empty());
}

#[test]
fn a_table_that_somebody_else_made_is_refused_and_left_alone() {
    for family in ["inet", "bridge"] {
        let ns = NetNs::new();
        ns.sh(&format!("nft add table {family} fireactions; nft add chain {family} fireactions forward; nft add rule {family} fireactions forward accept"));
        let before = ns.sh("nft list ruleset");
        let refused = ns.block_on(|| Network::ensure(config())).err();
        assert!(matches!(refused, Some(NetError::ForeignTable { .. })), "{refused:?}");
        assert_eq!(ns.sh("nft list ruleset"), before);
    }
}
