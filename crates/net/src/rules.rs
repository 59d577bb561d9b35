//! The firewall: which chains there are and what they say.
//!
//! Bridged frames are filtered in a table of the `bridge` family, which sees each frame with the tap that it
//! came from and needs no `br_netfilter`; what the host routes or takes in itself is filtered in an `inet`
//! table. A guest's frame passes, in this order:
//!
//! ```text
//! bridge prerouting   tap → from-TAP: MAC, ARP (by IPv6 neighbour messages) and IP are the machine's own; bandwidth up; listed
//!                     host ports; the guests' ports; DNS; never the guests' subnet; the pool's networks; no reserved network;
//!                     by IPv6 none that a link of the host leads to; else out
//! bridge forward      tap to tap: never (the taps are isolated ports besides)
//! inet   prerouting   an address of the host that is not the gateway's: never, before any DNAT changes it
//! inet   input        connection limit; the guests' ports: from no other link; by IPv6 neighbour messages alone
//! inet   forward      in from the bridge and out to it (hairpin): never; TCP's segments fit the route; connection limit
//! inet   postrouting  masquerade
//! bridge postrouting  → to-TAP: only ARP, neighbour messages and IP for the machine's own address; bandwidth down
//! ```
//!
//! Without IPv6 in the configuration, none passes.
//!
//! A tap that no machine owns has no entry in the maps, and its frames are dropped both ways. Only those of another network
//! of ours on this host are left to its tables, which see them too: its taps have its group from before they are up.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fireactions_model::Protocol;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::NetConfig;
use crate::config::TAP_PREFIX;
use crate::ipv6::{self, Ipv6Config, link_local};
use crate::nft::{
    ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Family, Hook, Ip, Is, Key, Listing, Name, Neighbour, Rule,
    Set,
};
use crate::port::Port;

/// What guests never reach unless their pool allows it: every IPv4 block that is not globally reachable, from
/// IANA's special-purpose registry (RFC 6890 and its updates), multicast and class E with the broadcast.
const RESERVED: [Ipv4Net; 16] = [
    net(0, 0, 0, 8),
    net(10, 0, 0, 8),
    net(100, 64, 0, 10),
    net(127, 0, 0, 8),
    net(169, 254, 0, 16),
    net(172, 16, 0, 12),
    net(192, 0, 0, 24),
    net(192, 0, 2, 24),
    net(192, 31, 196, 24),
    net(192, 52, 193, 24),
    net(192, 88, 99, 24),
    net(192, 168, 0, 16),
    net(198, 18, 0, 15),
    net(198, 51, 100, 24),
    net(203, 0, 113, 24),
    net(224, 0, 0, 3),
];

const fn net(a: u8, b: u8, c: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, 0), prefix)
}

/// Whether guests reach this address only where their pool allows it.
pub fn is_reserved(address: Ipv4Addr) -> bool {
    RESERVED.iter().any(|net| net.contains(&address))
}

/// A chain with all its rules.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) family: Family,
    pub(crate) name: String,
    /// Where a base chain is called.
    pub(crate) hook: Option<Hook>,
    pub(crate) rules: Vec<Rule>,
}

/// The `bridge` maps from a tap to its machine's chains.
pub(crate) const FROM_TAP: &str = "from_tap";
pub(crate) const TO_TAP: &str = "to_tap";
/// The `inet` maps of guests' connection limits, by address.
const GUESTS: &str = "guests";
const GUESTS6: &str = "guests6";

/// The map that has the connection limit of the guest with this address.
pub(crate) fn guests(address: IpAddr) -> &'static str {
    if address.is_ipv4() { GUESTS } else { GUESTS6 }
}

/// The maps, by which our tables are known as ours.
pub(crate) const MAPS: [(Family, &str, Key); 4] = [
    (Family::Bridge, FROM_TAP, Key::Link),
    (Family::Bridge, TO_TAP, Key::Link),
    (Family::Inet, GUESTS, Key::Address),
    (Family::Inet, GUESTS6, Key::Address6),
];

/// The group of every link that was given none.
const NO_GROUP: u32 = 0;

/// The chain that only NAT needs.
pub(crate) const POSTROUTING: &str = "postrouting";
pub(crate) const NAT_HOOK: Hook = Hook { kind: "nat", number: Hook::POSTROUTING, priority: 100 };

pub(crate) fn from_chain(tap: &str) -> String {
    format!("from-{tap}")
}

pub(crate) fn to_chain(tap: &str) -> String {
    format!("to-{tap}")
}

/// The tap that a chain was made for; none for the chains that all share.
fn tap_of_chain(chain: &str) -> Option<&str> {
    let tap = chain.strip_prefix("from-").or_else(|| chain.strip_prefix("to-")).unwrap_or(chain);
    tap.starts_with(TAP_PREFIX).then_some(tap)
}

/// The taps that have a chain.
pub(crate) fn taps(listing: &Listing) -> impl Iterator<Item = &str> {
    listing.chains.keys().filter_map(|(_, chain)| tap_of_chain(chain))
}

fn bridge() -> Rule {
    Rule::of(Family::Bridge)
}

fn inet() -> Rule {
    Rule::of(Family::Inet)
}

/// A message by which the machines of a link find each other by IPv6.
fn neighbours(rule: &Rule) -> [Option<Rule>; 2] {
    [Neighbour::Solicitation, Neighbour::Advertisement]
        .map(|kind| Some(rule.clone().neighbour(kind).accept()))
}

/// The chains that all machines share. `on_link` are the networks that the host's own links lead to by IPv6.
pub(crate) fn shared_chains(config: &NetConfig, on_link: &[Ipv6Net]) -> Vec<Chain> {
    use Is::{Not, So};
    let subnet = config.subnet.trunc();
    let gateway = Ipv4Net::from(config.gateway());
    let taps = Name::Prefix(TAP_PREFIX);
    let guests = Name::Of(&config.bridge);
    // Frames to 01:80:c2:00:00:0X are not bridged but handed to the host as if they came in on the tap itself.
    let link_local =
        |rule: Rule| rule.ether_destination([0xff, 0xff, 0xff, 0xff, 0xff, 0xf0], [1, 0x80, 0xc2, 0, 0, 0]);
    // A DNS server may be private, or another address of the host; on its port only.
    let dns = |rule: Rule| {
        let servers = Set::addresses(config.dns.iter().copied());
        (!config.dns.is_empty()).then(|| rule.destination_among(servers).tcp_or_udp_to(53).accept())
    };
    // The guests' own ports of the host.
    let ports = &config.guest_ports;
    let guest_ports = |rule: Rule| {
        let all = Set::ports(ports.iter().map(|port| (libc::IPPROTO_TCP, *port)));
        (!ports.is_empty()).then(|| rule.destination(So, gateway).ports_among(all))
    };
    let ipv6 = config.ipv6.as_ref();
    let subnet6 = ipv6.map(|ipv6| ipv6.subnet.trunc());
    let filter = |number, priority| Some(Hook { kind: "filter", number, priority });
    let chain = |family, name: &str, hook, rules: Vec<Option<Rule>>| Chain {
        family,
        name: name.into(),
        hook,
        rules: rules.into_iter().flatten().collect(),
    };

    let mut chains = vec![
        chain(
            Family::Bridge,
            "known",
            None,
            vec![
                guest_ports(bridge()).map(Rule::accept),
                dns(bridge()),
                Some(bridge().destination(So, subnet).drop()),
                subnet6.map(|subnet| bridge().destination(So, subnet).drop()),
            ],
        ),
        chain(
            Family::Bridge,
            "public",
            None,
            vec![
                Some(bridge().destination_within(&RESERVED).drop()),
                ipv6.map(|_| bridge().destination(Not, ipv6::GLOBAL).drop()),
                ipv6.map(|_| bridge().destination_within(&[&ipv6::RESERVED, on_link].concat()).drop()),
                Some(bridge().accept()),
            ],
        ),
        chain(
            Family::Bridge,
            "prerouting",
            filter(Hook::PREROUTING, -300),
            vec![
                Some(bridge().in_by(Not, taps).accept()),
                Some(bridge().in_by_group(Not, NO_GROUP).in_by_group(Not, config.group()).accept()),
                Some(link_local(bridge()).drop()),
                Some(bridge().by_incoming_link(FROM_TAP)),
                Some(bridge().drop()),
            ],
        ),
        chain(
            Family::Bridge,
            "input",
            filter(Hook::INPUT, -300),
            vec![Some(link_local(bridge().in_by(So, taps)).drop())],
        ),
        chain(
            Family::Bridge,
            "forward",
            filter(Hook::FORWARD, -300),
            vec![Some(bridge().in_by(So, taps).drop()), Some(bridge().out_by(So, taps).drop())],
        ),
        chain(
            Family::Bridge,
            "postrouting",
            filter(Hook::POSTROUTING, 300),
            vec![
                Some(bridge().out_by(Not, taps).accept()),
                Some(bridge().out_by_group(Not, NO_GROUP).out_by_group(Not, config.group()).accept()),
                Some(bridge().by_outgoing_link(TO_TAP)),
                Some(bridge().drop()),
            ],
        ),
        chain(
            Family::Inet,
            "prerouting",
            filter(Hook::PREROUTING, -200),
            [
                vec![
                    Some(inet().in_by(So, taps).drop()),
                    Some(inet().in_by(So, guests).source(Not, subnet).drop()),
                    dns(inet().in_by(So, guests)),
                    Some(inet().in_by(So, guests).destination_is_local().destination(Not, gateway).drop()),
                ],
                prerouting6(&inet().in_by(So, guests), ipv6),
            ]
            .concat(),
        ),
        chain(
            Family::Inet,
            "input",
            filter(Hook::INPUT, -10),
            [
                vec![
                    Some(inet().in_by(So, guests).new_connection().by_source(Ip::V4, GUESTS)),
                    guest_ports(inet().in_by(Not, guests).in_by(Not, Name::Of("lo"))).map(Rule::drop),
                    dns(inet().in_by(So, guests)),
                    Some(inet().in_by(So, guests).destination(Not, gateway).drop()),
                ],
                // Their ports of the host are at its IPv4 address.
                input6(&inet().in_by(So, guests), ipv6),
            ]
            .concat(),
        ),
        chain(
            Family::Inet,
            "forward",
            filter(Hook::FORWARD, -10),
            vec![
                Some(inet().out_by(So, taps).drop()),
                Some(inet().in_by(So, guests).out_by(So, guests).drop()),
                ipv6.is_none().then(|| inet().out_by(So, guests).ip(Ip::V6).drop()),
                Some(inet().out_by(So, guests).unknown_connection().drop()),
                // Both ways: a guest may not know how narrow the way out is, and who answers does not know the guests' MTU.
                Some(inet().in_by(So, guests).tcp_syn().clamp_segments()),
                Some(inet().out_by(So, guests).tcp_syn().clamp_segments()),
                Some(inet().in_by(So, guests).new_connection().by_source(Ip::V4, GUESTS)),
                ipv6.map(|_| inet().in_by(So, guests).new_connection().by_source(Ip::V6, GUESTS6)),
            ],
        ),
    ];
    if config.masquerades() {
        let outside = |subnet: IpNet| {
            Some(inet().source(So, subnet).destination(Not, subnet).out_by(Not, guests).masquerade())
        };
        let all = vec![
            config.nat.then(|| outside(subnet.into())).flatten(),
            ipv6.filter(|ipv6| ipv6.nat).and_then(|ipv6| outside(ipv6.subnet.trunc().into())),
        ];
        chains.push(chain(Family::Inet, POSTROUTING, Some(NAT_HOOK), all));
    }
    chains
}

/// What of `guests`' packets is dropped before anything changes them.
fn prerouting6(guests: &Rule, ipv6: Option<&Ipv6Config>) -> Vec<Option<Rule>> {
    let Some(ipv6) = ipv6 else { return vec![Some(guests.clone().ip(Ip::V6).drop())] };
    let other = vec![
        Some(guests.clone().source(Is::Not, ipv6.subnet.trunc()).drop()),
        Some(
            guests.clone().destination_is_local().destination(Is::Not, Ipv6Net::from(ipv6.gateway())).drop(),
        ),
    ];
    [neighbours(guests).to_vec(), other].concat()
}

/// What the host takes in from guests.
fn input6(guests: &Rule, ipv6: Option<&Ipv6Config>) -> Vec<Option<Rule>> {
    let drop = vec![Some(guests.clone().ip(Ip::V6).drop())];
    if ipv6.is_none() { Vec::new() } else { [neighbours(guests).to_vec(), drop].concat() }
}

/// The chains of one machine.
pub(crate) fn port_chains(config: &NetConfig, port: &Port) -> Vec<Chain> {
    use Is::{Not, So};
    let Port { tap, mac, policy, .. } = port;
    let address = Ipv4Net::from(port.address);
    let gateway = config.gateway();
    let group = [1, 0, 0, 0, 0, 0];

    let own6 = config.ipv6.zip(port.address6).map(|(ipv6, address)| Own6 {
        address,
        all: [address, link_local(*mac)],
        gateway: [ipv6.gateway(), link_local(config.bridge_mac())],
    });
    let no_ip = || match own6 {
        None => bridge().ether_type(Not, ETHERTYPE_IPV4).drop(),
        Some(_) => bridge().ether_type(Not, ETHERTYPE_IPV4).ether_type(Not, ETHERTYPE_IPV6).drop(),
    };

    let mut from = vec![
        bridge().ether_source(Not, *mac).drop(),
        // Only the guest's own address may be told, and only the gateway's may be asked for.
        bridge().arp_from(*mac, port.address).arp_about(Set::addresses([gateway, port.address])).accept(),
    ];
    if let Some(Own6 { all, gateway, .. }) = &own6 {
        let message = |kind| bridge().neighbour(kind).source_among(Set::addresses(*all));
        from.extend(gateway.map(|of| message(Neighbour::Solicitation).neighbour_about(of).accept()));
        from.extend(all.map(|of| message(Neighbour::Advertisement).neighbour_about(of).accept()));
    }
    from.extend([
        no_ip(),
        bridge().ether_destination(group, group).drop(),
        bridge().source(Not, address).drop(),
    ]);
    from.extend(own6.as_ref().map(|own| bridge().source(Not, Ipv6Net::from(own.address)).drop()));
    from.extend(policy.bandwidth_mbit.map(limit));
    let ports: BTreeSet<(i32, u16)> = policy
        .host_ports
        .iter()
        .map(|rule| match rule.protocol {
            Protocol::Tcp => (libc::IPPROTO_TCP, rule.port),
            Protocol::Udp => (libc::IPPROTO_UDP, rule.port),
        })
        .collect();
    if !ports.is_empty() {
        from.push(bridge().destination(So, Ipv4Net::from(gateway)).ports_among(Set::ports(ports)).accept());
    }
    from.push(bridge().jump("known"));
    let allow = Ipv4Net::aggregate(&policy.allow.iter().map(Ipv4Net::trunc).collect());
    if !allow.is_empty() {
        from.push(bridge().destination_within(&allow).accept());
    }
    from.push(bridge().goto("public"));

    let asked = Set::addresses([port.address]);
    let mut to = vec![bridge().ether_type(So, ETHERTYPE_ARP).arp_about(asked).accept()];
    if let Some(Own6 { all, gateway, .. }) = &own6 {
        to.extend(all.map(|of| bridge().neighbour(Neighbour::Solicitation).neighbour_about(of).accept()));
        let told = bridge().neighbour(Neighbour::Advertisement).destination_among(Set::addresses(*all));
        to.extend(gateway.map(|of| told.clone().neighbour_about(of).accept()));
    }
    to.push(no_ip());
    to.extend(policy.bandwidth_mbit.map(limit));
    to.push(bridge().destination(So, address).accept());
    to.extend(own6.as_ref().map(|own| bridge().destination(So, Ipv6Net::from(own.address)).accept()));
    to.push(bridge().drop());

    // Made even when empty, so that a limit that was lifted does not stay behind.
    let most = policy.max_connections;
    let count = (most > 0).then(|| inet().more_connections_than(most).drop());
    let chain = |family, name, rules| Chain { family, name, hook: None, rules };
    vec![
        chain(Family::Bridge, from_chain(tap), from),
        chain(Family::Bridge, to_chain(tap), to),
        chain(Family::Inet, tap.clone(), count.into_iter().collect()),
    ]
}

/// A machine's own IPv6.
struct Own6 {
    address: Ipv6Addr,
    /// That, and what its interface makes for itself.
    all: [Ipv6Addr; 2],
    /// The same of the bridge.
    gateway: [Ipv6Addr; 2],
}

/// Drops what comes faster than `mbit`. The kernel's bucket holds one second's worth and the burst beside; the
/// burst is there so that, at low rates, frames of 64 KiB (segmentation offload) fit in at all. Above 100 Gbit/s
/// the kernel's arithmetic would overflow.
fn limit(mbit: u32) -> Rule {
    bridge().faster_than(u64::from(mbit.clamp(1, 100_000)) * 125_000, 131_072).drop()
}
