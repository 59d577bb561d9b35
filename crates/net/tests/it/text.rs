//! The rules as people would write them, for the program `nft`: what the kernel's must be shown as.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use fireactions_model::Protocol;
use fireactions_net::{NetConfig, Port};
use ipnet::{Ipv4Net, Ipv6Net};

const TAP_PREFIX: &str = "fam";
const FROM_TAP: &str = "from_tap";
const TO_TAP: &str = "to_tap";
const GUESTS: &str = "guests";
const GUESTS6: &str = "guests6";

const GLOBAL6: &str = "2000::/3";
const RESERVED6: [&str; 5] = ["2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"];

const RESERVED: [&str; 16] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/3",
];

/// The tables' name.
pub(crate) fn table(config: &NetConfig) -> String {
    match config.bridge.as_str() {
        "fireactions0" => "fireactions".to_owned(),
        other => format!("fireactions-{other}"),
    }
}

struct Chain {
    family: &'static str,
    name: String,
    hook: Option<&'static str>,
    rules: Vec<String>,
}

impl Chain {
    fn base(family: &'static str, name: &str, hook: &'static str, rules: Vec<String>) -> Self {
        Self { family, name: name.into(), hook: Some(hook), rules }
    }

    fn plain(family: &'static str, name: String, rules: Vec<String>) -> Self {
        Self { family, name, hook: None, rules }
    }
}

/// A script of all of it.
pub(crate) fn script(config: &NetConfig, gateway: Ipv4Addr, ports: &[Port]) -> String {
    let table = &table(config);
    let mut script = format!(
        "add table bridge {table}\nadd table inet {table}\n\
         add map bridge {table} {FROM_TAP} {{ type ifname : verdict; }}\n\
         add map bridge {table} {TO_TAP} {{ type ifname : verdict; }}\n\
         add map inet {table} {GUESTS} {{ type ipv4_addr : verdict; }}\n\
         add map inet {table} {GUESTS6} {{ type ipv6_addr : verdict; }}\n"
    );
    write_chains(&mut script, table, &shared_chains(config, gateway));
    for port in ports {
        let tap = &port.tap;
        write_chains(&mut script, table, &port_chains(config, gateway, port));
        for (map, chain) in [(FROM_TAP, format!("from-{tap}")), (TO_TAP, format!("to-{tap}"))] {
            let _ = writeln!(script, "add element bridge {table} {map} {{ \"{tap}\" : jump {chain} }}");
        }
        let _ = writeln!(script, "add element inet {table} {GUESTS} {{ {} : jump {tap} }}", port.address);
        if let Some(address) = port.address6 {
            let _ = writeln!(script, "add element inet {table} {GUESTS6} {{ {address} : jump {tap} }}");
        }
    }
    script
}

fn write_chains(script: &mut String, table: &str, chains: &[Chain]) {
    for Chain { family, name, hook, .. } in chains {
        let hook = hook.map(|hook| format!(" {{ {hook}; policy accept; }}")).unwrap_or_default();
        let _ = writeln!(script, "add chain {family} {table} {name}{hook}");
    }
    for Chain { family, name, rules, .. } in chains {
        for rule in rules {
            let _ = writeln!(script, "add rule {family} {table} {name} {rule}");
        }
    }
}

fn shared_chains(config: &NetConfig, gateway: Ipv4Addr) -> Vec<Chain> {
    let NetConfig { bridge, dns, nat, guest_ports, ipv6, .. } = config;
    let subnet6 = ipv6.map(|ipv6| ipv6.subnet);
    let from_guests = |rules: &[String]| -> Vec<String> {
        rules.iter().map(|rule| format!("iifname \"{bridge}\" {rule}")).collect()
    };
    let no_ipv6 = || vec!["meta nfproto ipv6 drop".to_owned()];
    let neighbours = || [135, 136].map(|kind| format!("{} accept", neighbour(kind))).to_vec();
    let prerouting6 = subnet6.map_or_else(no_ipv6, |subnet| {
        let gateway = nth(subnet, 1);
        let more = [
            format!("ip6 saddr != {subnet} drop"),
            format!("fib daddr type local ip6 daddr != {gateway} drop"),
        ];
        [neighbours(), more.to_vec()].concat()
    });
    let input6 = subnet6.map_or_else(Vec::new, |_| [neighbours(), no_ipv6()].concat());
    let subnet = config.subnet.trunc();
    let taps = format!("\"{TAP_PREFIX}*\"");
    let group = gateway.to_bits() & 0x7fff_ffff;
    // Frames to 01:80:c2:00:00:0X are not bridged but handed to the host as if they came in on the tap itself.
    let link_local = "ether daddr & ff:ff:ff:ff:ff:f0 == 01:80:c2:00:00:00";

    // A DNS server may be private, or another address of the host; on its port only.
    let dns = (!dns.is_empty())
        .then(|| format!("ip daddr {} meta l4proto {{ tcp, udp }} th dport 53 accept", braces(dns)));
    // What is for all guests, and for nobody else.
    let guest_ports = (!guest_ports.is_empty()).then(|| {
        let ports = braces(guest_ports.iter().map(|port| format!("tcp . {port}")));
        format!("ip daddr {gateway} meta l4proto . th dport {ports}")
    });
    let opened = guest_ports.as_ref().map(|ports| format!("{ports} accept"));
    let closed = guest_ports.map(|ports| format!("iifname != \"{bridge}\" iifname != \"lo\" {ports} drop"));
    let known = opened
        .into_iter()
        .chain(dns.iter().cloned())
        .chain([format!("ip daddr {subnet} drop")])
        .chain(subnet6.map(|subnet| format!("ip6 daddr {subnet} drop")))
        .collect();
    let dns_from_bridge = dns.map(|rule| format!("iifname \"{bridge}\" {rule}"));

    let mut chains = vec![
        Chain::plain("bridge", "known".into(), known),
        Chain::plain(
            "bridge",
            "public".into(),
            [format!("ip daddr {} drop", braces(RESERVED))]
                .into_iter()
                .chain(ipv6.iter().flat_map(|_| {
                    [format!("ip6 daddr != {GLOBAL6} drop"), format!("ip6 daddr {} drop", braces(RESERVED6))]
                }))
                .chain(["accept".into()])
                .collect(),
        ),
        Chain::base(
            "bridge",
            "prerouting",
            "type filter hook prerouting priority -300",
            vec![
                format!("iifname != {taps} accept"),
                format!("iifgroup != 0 iifgroup != {group} accept"),
                format!("{link_local} drop"),
                format!("iifname vmap @{FROM_TAP}"),
                "drop".into(),
            ],
        ),
        Chain::base(
            "bridge",
            "input",
            "type filter hook input priority -300",
            vec![format!("iifname {taps} {link_local} drop")],
        ),
        Chain::base(
            "bridge",
            "forward",
            "type filter hook forward priority -300",
            vec![format!("iifname {taps} drop"), format!("oifname {taps} drop")],
        ),
        Chain::base(
            "bridge",
            "postrouting",
            "type filter hook postrouting priority 300",
            vec![
                format!("oifname != {taps} accept"),
                format!("oifgroup != 0 oifgroup != {group} accept"),
                format!("oifname vmap @{TO_TAP}"),
                "drop".into(),
            ],
        ),
        Chain::base(
            "inet",
            "prerouting",
            "type filter hook prerouting priority -200",
            [format!("iifname {taps} drop"), format!("iifname \"{bridge}\" ip saddr != {subnet} drop")]
                .into_iter()
                .chain(dns_from_bridge.clone())
                .chain([format!("iifname \"{bridge}\" fib daddr type local ip daddr != {gateway} drop")])
                .chain(from_guests(&prerouting6))
                .collect(),
        ),
        Chain::base(
            "inet",
            "input",
            "type filter hook input priority -10",
            [format!("iifname \"{bridge}\" ct state new ip saddr vmap @{GUESTS}")]
                .into_iter()
                .chain(closed)
                .chain(dns_from_bridge)
                .chain([format!("iifname \"{bridge}\" ip daddr != {gateway} drop")])
                .chain(from_guests(&input6))
                .collect(),
        ),
        Chain::base(
            "inet",
            "forward",
            "type filter hook forward priority -10",
            [
                Some(format!("oifname {taps} drop")),
                Some(format!("iifname \"{bridge}\" oifname \"{bridge}\" drop")),
                ipv6.is_none().then(|| format!("oifname \"{bridge}\" meta nfproto ipv6 drop")),
                Some(format!("oifname \"{bridge}\" ct state != {{ established, related }} drop")),
                Some(format!("iifname \"{bridge}\" tcp flags syn tcp option maxseg size set rt mtu")),
                Some(format!("oifname \"{bridge}\" tcp flags syn tcp option maxseg size set rt mtu")),
                Some(format!("iifname \"{bridge}\" ct state new ip saddr vmap @{GUESTS}")),
                ipv6.map(|_| format!("iifname \"{bridge}\" ct state new ip6 saddr vmap @{GUESTS6}")),
            ]
            .into_iter()
            .flatten()
            .collect(),
        ),
    ];
    let masquerade = [
        nat.then(|| format!("ip saddr {subnet} ip daddr != {subnet} oifname != \"{bridge}\" masquerade")),
        ipv6.filter(|ipv6| ipv6.nat).map(|ipv6| {
            let subnet = ipv6.subnet;
            format!("ip6 saddr {subnet} ip6 daddr != {subnet} oifname != \"{bridge}\" masquerade")
        }),
    ];
    let masquerade: Vec<String> = masquerade.into_iter().flatten().collect();
    if !masquerade.is_empty() {
        chains.push(Chain::base("inet", "postrouting", "type nat hook postrouting priority 100", masquerade));
    }
    chains
}

/// The address of a network with this number.
fn nth(net: Ipv6Net, number: u128) -> Ipv6Addr {
    Ipv6Addr::from_bits(net.network().to_bits() | number)
}

/// A neighbour solicitation or advertisement that was never forwarded.
fn neighbour(kind: u8) -> String {
    format!("ip6 nexthdr ipv6-icmp ip6 hoplimit 255 icmpv6 type {kind}")
}

/// What an interface with this MAC has of itself.
fn link_local(mac: [u8; 6]) -> Ipv6Addr {
    let [m0, m1, m2, m3, m4, m5] = mac;
    format!("fe80::{:02x}{m1:02x}:{m2:02x}ff:fe{m3:02x}:{m4:02x}{m5:02x}", m0 ^ 2).parse().unwrap()
}

fn port_chains(config: &NetConfig, gateway: Ipv4Addr, port: &Port) -> Vec<Chain> {
    let Port { tap, address, policy, .. } = port;
    let mac = MacText(port.mac);
    let [a, b, c, d] = gateway.octets();
    let gateways6 = config.ipv6.map(|ipv6| [nth(ipv6.subnet, 1), link_local([2, 0xfb, a, b, c, d])]);
    let own6 = port.address6.map(|address| [address, link_local(port.mac)]);
    let about = |kind: u8, words: &str, targets: Option<[Ipv6Addr; 2]>| {
        let rule = |target: Ipv6Addr| {
            format!("{} {words} @th,64,128 {:#x} accept", neighbour(kind), target.to_bits())
        };
        targets.into_iter().flatten().map(rule).collect::<Vec<_>>()
    };
    let own_set = own6.map(braces).unwrap_or_default();
    let no_ip = match own6 {
        None => "ether type != ip drop",
        Some(_) => "ether type != ip ether type != ip6 drop",
    };
    let limit = policy.bandwidth_mbit.map(limit_rule);

    let mut from = vec![
        format!("ether saddr != {mac} drop"),
        format!(
            "ether type arp arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp saddr ether {mac} \
             arp saddr ip {address} arp daddr ip {{ {gateway}, {address} }} accept"
        ),
    ];
    from.extend(about(135, &format!("ip6 saddr {own_set}"), gateways6));
    from.extend(about(136, &format!("ip6 saddr {own_set}"), own6));
    from.extend([
        no_ip.into(),
        "ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 drop".into(),
        format!("ip saddr != {address} drop"),
    ]);
    from.extend(port.address6.map(|address| format!("ip6 saddr != {address} drop")));
    from.extend(limit.clone());
    let ports: BTreeSet<String> = policy
        .host_ports
        .iter()
        .map(|rule| format!("{} . {}", if rule.protocol == Protocol::Tcp { "tcp" } else { "udp" }, rule.port))
        .collect();
    if !ports.is_empty() {
        from.push(format!("ip daddr {gateway} meta l4proto . th dport {} accept", braces(ports)));
    }
    from.push("jump known".into());
    let allow = Ipv4Net::aggregate(&policy.allow.iter().map(Ipv4Net::trunc).collect());
    if !allow.is_empty() {
        from.push(format!("ip daddr {} accept", braces(allow)));
    }
    from.push("goto public".into());

    let mut to = vec![format!("ether type arp arp daddr ip {address} accept")];
    to.extend(about(135, "", own6));
    to.extend(about(136, &format!("ip6 daddr {own_set}"), gateways6));
    to.push(no_ip.into());
    to.extend(limit);
    to.push(format!("ip daddr {address} accept"));
    to.extend(port.address6.map(|address| format!("ip6 daddr {address} accept")));
    to.push("drop".into());

    let mut chains = vec![
        Chain::plain("bridge", format!("from-{tap}"), from),
        Chain::plain("bridge", format!("to-{tap}"), to),
    ];
    let count =
        (policy.max_connections > 0).then(|| format!("ct count over {} drop", policy.max_connections));
    chains.push(Chain::plain("inet", tap.clone(), count.into_iter().collect()));
    chains
}

fn limit_rule(mbit: u32) -> String {
    let bytes = u64::from(mbit.clamp(1, 100_000)) * 125_000;
    format!("limit rate over {bytes} bytes/second burst 131072 bytes drop")
}

fn braces(items: impl IntoIterator<Item = impl std::fmt::Display>) -> String {
    let items: BTreeSet<String> = items.into_iter().map(|item| item.to_string()).collect();
    format!("{{ {} }}", items.into_iter().collect::<Vec<_>>().join(", "))
}

/// A MAC as nft writes it.
struct MacText([u8; 6]);

impl std::fmt::Display for MacText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02x}", if i == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}
