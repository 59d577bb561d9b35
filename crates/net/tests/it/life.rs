//! Ports and the network itself, made and unmade, again and in the wrong order.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests: helpers may fail the test, too")]

use std::collections::BTreeSet;

use crate::common::{INTERNET, NetNs, World, call, config, machine, serve};
use fireactions_model::{MachineId, NetworkPolicy, PortRule, Protocol};
use fireactions_net::{NetConfig, NetError, Network, Port};
use ipnet::Ipv4Net;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::net::Ipv4Addr;
use std::task::Poll;

fn full() -> NetworkPolicy {
    NetworkPolicy {
        allow: vec!["10.0.0.0/8".parse().unwrap()],
        host_ports: vec![
            PortRule { protocol: Protocol::Tcp, port: 1 },
            PortRule { protocol: Protocol::Udp, port: 65535 },
            PortRule { protocol: Protocol::Tcp, port: 1 },
        ],
        bandwidth_mbit: Some(10),
        max_connections: 5,
    }
}

/// Links, rules and IPv4 addresses, without what changes by itself: counters, and the carrier.
fn state(ns: &NetNs) -> String {
    ns.sh("nft -s list ruleset; ip -o link | cut -d: -f2- | \
         sed 's/NO-CARRIER,//; s/,LOWER_UP//; s/ state [A-Z]*//' | sort; ip -4 -o address")
}

#[test]
fn everything_twice_is_as_once_and_removal_leaves_nothing() {
    let world = World::new();
    let empty = state(&world.host);
    world.host.block_on(|| Network::ensure(config())).unwrap();
    assert_eq!(state(&world.host), empty, "ensure twice");

    let port = world.port(0, full());
    world.attach(&port);
    let once = state(&world.host);
    assert!(once.contains(&port.tap));
    world.attach(&port);
    assert_eq!(state(&world.host), once, "attach twice");
    // A server that starts again keeps what machines have.
    let again = world.host.block_on(|| Network::ensure(config())).unwrap();
    assert_eq!(state(&world.host), once, "ensure over an attached machine");
    world.host.block_on(|| again.attach(&port)).unwrap();
    assert_eq!(state(&world.host), once, "attach by the next server");

    for _ in 0..2 {
        world.host.block_on(|| again.detach(&port.machine)).unwrap();
        assert_eq!(state(&world.host), empty, "detach");
    }
    for _ in 0..2 {
        world.host.block_on(|| world.network.remove()).unwrap();
        assert_eq!(world.host.sh("nft list ruleset"), "");
        let links = world.host.sh("ip -o link");
        assert!(!links.contains("fam") && !links.contains("fireactions"), "{links}");
    }
}

/// What is asked for last is done last, even if nobody waits any more for what was asked for before.
#[test]
fn a_machine_that_is_given_up_while_it_gets_its_tap_has_none_in_the_end() {
    let world = World::new();
    let empty = state(&world.host);
    let port = world.port(0, full());
    let network = world.network.clone();
    world.host.run(|| {
        // Of two tasks that a task begins, such a runtime runs the second one first.
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let given_up = async move {
            {
                let mut attach = std::pin::pin!(network.attach(&port));
                assert!(
                    std::future::poll_fn(|context| Poll::Ready(attach.as_mut().poll(context)))
                        .await
                        .is_pending()
                );
            }
            network.detach(&port.machine).await.unwrap();
            network.settled().await;
        };
        runtime.block_on(async { tokio::spawn(given_up).await.unwrap() });
    });
    assert_eq!(state(&world.host), empty);
}

#[test]
fn a_server_that_forgot_everything_finds_the_owners_and_cleans_up() {
    let world = World::new();
    let empty = state(&world.host);
    for slot in 0..4 {
        world.attach(&world.port(slot, full()));
    }
    // Leftovers of every kind: a tap without rules, rules without a tap, a tap that is on no bridge yet.
    world.host.sh(&format!("ip link delete {}", Network::tap_name(&machine(1))));
    world.host.sh(&format!("ip link set {} nomaster", Network::tap_name(&machine(3))));
    world.host.sh(&format!("ip tuntap add {} mode tap", Network::tap_name(&machine(7))));
    world.host.sh("ip tuntap add somebodys mode tap");
    let next = world.host.block_on(|| Network::ensure(config())).unwrap();
    let found: BTreeSet<MachineId> = world.host.block_on(|| next.attached()).unwrap().into_iter().collect();
    // A tap on no bridge can be another server's that is just making it: nobody is told of it, and whoever knows the machine
    // has it removed.
    assert_eq!(found, [0, 1, 2, 3].map(machine).into());
    for id in found.iter().chain([&machine(7)]) {
        world.host.block_on(|| next.detach(id)).unwrap();
    }
    assert!(world.host.block_on(|| next.attached()).unwrap().is_empty());
    world.host.sh("ip link delete somebodys");
    assert_eq!(state(&world.host), empty);
}

#[test]
fn a_flushed_ruleset_comes_back_with_the_next_attach_for_all() {
    let world = World::new();
    let ports: Vec<Port> = (0..3).map(|slot| world.port(slot, full())).collect();
    for port in &ports {
        world.attach(port);
    }
    let whole = state(&world.host);
    for damage in [
        "nft flush ruleset",
        "nft delete table inet fireactions",
        "nft delete table bridge fireactions",
        "nft delete table bridge fireactions; nft add table bridge fireactions; \
         nft 'add map bridge fireactions from_tap { type ipv4_addr : verdict; }'",
    ] {
        world.host.sh(damage);
        world.attach(&ports[0]);
        let sorted = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        assert_eq!(sorted(&state(&world.host)), sorted(&whole), "after {damage}");
    }
    // What attach does not look at, repair does.
    for damage in ["nft flush table bridge fireactions", "nft flush chain inet fireactions forward"] {
        world.host.sh(damage);
        assert!(world.host.block_on(|| world.network.repair()).unwrap(), "{damage}");
        assert!(!world.host.block_on(|| world.network.repair()).unwrap(), "{damage}");
    }
    // Detach works without the tables, too.
    world.host.sh("nft flush ruleset");
    for port in &ports {
        world.host.block_on(|| world.network.detach(&port.machine)).unwrap();
    }
    assert!(world.host.block_on(|| world.network.attached()).unwrap().is_empty());
}

#[test]
fn many_at_once_are_attached_one_after_another() {
    let world = World::new();
    let empty = state(&world.host);
    let ports: Vec<Port> = (0..20).map(|slot| world.port(slot, full())).collect();
    world.host.block_on(|| async {
        let attaches = ports.iter().map(|port| world.network.attach(port));
        for result in futures_util::future::join_all(attaches).await {
            result.unwrap();
        }
        assert_eq!(world.network.attached().await.unwrap().len(), 20);
        let detaches = ports.iter().map(|port| world.network.detach(&port.machine));
        for result in futures_util::future::join_all(detaches).await {
            result.unwrap();
        }
    });
    assert_eq!(state(&world.host), empty);
}

#[test]
fn a_caller_that_gives_up_leaves_no_half_change() {
    let world = World::new();
    let empty = state(&world.host);
    let port = world.port(0, full());
    world.host.block_on(|| async {
        for wait in [0, 1, 3, 6] {
            let wait = std::time::Duration::from_millis(wait);
            let _ = tokio::time::timeout(wait, world.network.attach(&port)).await;
            world.network.detach(&port.machine).await.unwrap();
            assert!(world.network.attached().await.unwrap().is_empty());
        }
    });
    assert_eq!(state(&world.host), empty);
}

#[test]
fn an_address_goes_to_its_new_owner_and_never_to_two() {
    let world = World::new();
    let old = world.port(0, full());
    world.attach(&old);
    let new = Port { machine: machine(9), tap: Network::tap_name(&machine(9)), ..old.clone() };
    let refused = world.host.block_on(|| world.network.attach(&new));
    assert!(matches!(refused, Err(NetError::Port { .. })), "{refused:?}");
    // The next server's store says that the slot is the new machine's: the rules left behind give way.
    let next = world.host.block_on(|| Network::ensure(config())).unwrap();
    world.host.block_on(|| next.attach(&new)).unwrap();
    let rules = world.host.sh("nft list table inet fireactions");
    assert!(rules.contains(&new.tap) && !rules.contains(&old.tap), "{rules}");
}

#[test]
fn a_changed_policy_replaces_the_old_rules() {
    let world = World::new();
    serve(&world.internet, Ipv4Addr::UNSPECIFIED, 80);
    let guest = world.guest(0, NetworkPolicy { max_connections: 1, ..full() });
    let held = crate::common::open(&guest.ns, INTERNET, 80, std::time::Duration::from_secs(5))
        .expect("the only one");
    assert!(crate::common::dropped(&guest.ns, INTERNET, 80), "the second is one too many");
    let mut port = guest.port.clone();
    port.policy = NetworkPolicy { max_connections: 0, ..NetworkPolicy::default() };
    world.attach(&port);
    assert!(call(&guest.ns, INTERNET, 80).is_some());
    drop(held);
    assert!(!world.host.sh("nft list ruleset").contains("ct count"));
}

#[test]
fn ports_that_contradict_the_network_are_refused() {
    let world = World::new();
    let fine = world.port(0, NetworkPolicy::default());
    let refused = |change: &dyn Fn(&mut Port)| {
        let mut port = fine.clone();
        change(&mut port);
        matches!(world.host.block_on(|| world.network.attach(&port)), Err(NetError::Port { .. }))
    };
    assert!(refused(&|p| p.tap = "eth0".into()));
    assert!(refused(&|p| p.address = world.network.gateway()));
    assert!(refused(&|p| p.address = Ipv4Addr::new(172, 30, 3, 255)));
    assert!(refused(&|p| p.address = INTERNET));
    assert!(refused(&|p| p.mac = [0xff; 6]));
    assert!(world.host.block_on(|| world.network.attached()).unwrap().is_empty());
}

#[test]
fn guests_are_told_of_a_narrow_way_out() {
    let world = World::new();
    assert_eq!(world.network.mtu(), None, "there is no default route");
    let mtu = || world.host.block_on(|| Network::ensure(config())).unwrap().mtu();
    world.host.sh("ip route add default via 9.9.9.9");
    assert_eq!(mtu(), None, "as wide as a guest's");
    world.host.sh("ip link set up0 mtu 1400");
    assert_eq!(mtu(), Some(1400));
    world.host.sh("ip link set up0 mtu 9000");
    assert_eq!(mtu(), None);
}

#[test]
fn a_changed_configuration_is_taken_over() {
    let world = World::new();
    let changed = NetConfig { subnet: "10.77.0.0/24".parse().unwrap(), nat: false, dns: vec![], ..config() };
    let network = world.host.block_on(|| Network::ensure(changed.clone())).unwrap();
    assert_eq!(network.gateway(), Ipv4Addr::new(10, 77, 0, 1));
    let addresses = world.host.sh("ip -4 -o address show dev fireactions0");
    assert!(addresses.contains("10.77.0.1/24") && !addresses.contains("172.30."), "{addresses}");
    let rules = world.host.sh("nft list ruleset");
    assert!(!rules.contains("masquerade") && !rules.contains("172.30.0.0"), "{rules}");
    world.host.sh("ip link add taken0 type veth peer name taken1");
    let other = NetConfig { bridge: "taken0".into(), ..config() };
    let taken = world.host.block_on(|| Network::ensure(other));
    assert!(matches!(taken, Err(NetError::Taken { .. })), "{:?}", taken.err());
}

#[test]
fn a_second_network_takes_nothing_from_the_first_and_outlives_what_only_one_could_have() {
    let world = World::new();
    let second =
        || NetConfig { bridge: "second0".into(), subnet: "10.99.0.0/24".parse().unwrap(), ..config() };
    world.attach(&world.port(0, full()));
    let first = world.host.sh("nft list table bridge fireactions; nft list table inet fireactions");
    let network = world.host.block_on(|| Network::ensure(second())).unwrap();
    assert_eq!(world.host.sh("nft list table bridge fireactions; nft list table inet fireactions"), first);
    assert_eq!(world.host.block_on(|| network.attached()).unwrap(), []);
    world.host.block_on(|| network.remove()).unwrap();
    assert_eq!(world.host.sh("nft list table bridge fireactions; nft list table inet fireactions"), first);

    // Nobody has the usual bridge any more: its tables are from before, and would drop the frames of all taps.
    world.host.sh("ip link delete fireactions0");
    world.host.block_on(|| Network::ensure(second())).unwrap();
    let tables = world.host.sh("nft list tables | sort");
    assert_eq!(tables, "table bridge fireactions-second0\ntable inet fireactions-second0\n");
    // One of that name that somebody else made stays.
    world.host.sh("nft add table inet fireactions");
    world.host.block_on(|| Network::ensure(second())).unwrap();
    assert!(world.host.sh("nft list tables").contains("table inet fireactions\n"));
}

#[test]
fn a_tap_of_before_there_were_groups_gets_its_own() {
    let world = World::new();
    let port = world.port(0, full());
    world.attach(&port);
    let group = || {
        let link = world.host.sh(&format!("ip -o link show {}", port.tap));
        link.split_once(" group ").unwrap().1.split(' ').next().unwrap().to_owned()
    };
    let given = group();
    assert!(given.parse::<u32>().unwrap() > 0, "{given}");
    world.host.sh(&format!("ip link set {} group 0", port.tap));
    let next = world.host.block_on(|| Network::ensure(config())).unwrap();
    assert_eq!(world.host.block_on(|| next.adopt(vec![port.clone()])).unwrap(), []);
    assert_eq!(group(), given);
}

/// Policies as configuration files may have them, the extremes included.
pub(crate) fn policies() -> impl Strategy<Value = NetworkPolicy> {
    let net = (any::<u32>(), 0_u8..=32).prop_map(|(bits, prefix)| Ipv4Net::new_assert(bits.into(), prefix));
    let rule = (any::<bool>(), any::<u16>())
        .prop_map(|(tcp, port)| PortRule { protocol: if tcp { Protocol::Tcp } else { Protocol::Udp }, port });
    let extremes = || prop_oneof![Just(0), Just(1), Just(u32::MAX), any::<u32>()];
    (vec(net, 0..8), vec(rule, 0..8), option::of(extremes()), extremes()).prop_map(
        |(allow, host_ports, bandwidth_mbit, max_connections)| NetworkPolicy {
            allow,
            host_ports,
            bandwidth_mbit,
            max_connections,
        },
    )
}

#[test]
fn the_kernel_takes_the_rules_of_every_policy() {
    let world = World::new();
    let mut runner = TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&policies(), |policy| {
        let port = world.port(0, policy);
        let attached = world.host.block_on(|| world.network.attach(&port));
        prop_assert!(attached.is_ok(), "{:?}", attached);
        // In full: repair() compares what was meant with what is there.
        prop_assert!(!world.host.block_on(|| world.network.repair()).unwrap());
        Ok(())
    });
    outcome.unwrap();
}
