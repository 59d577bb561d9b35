//! The rules as people would write them, for the program `nft`: what the kernel's must be shown as.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use fireactions_model::Protocol;
use fireactions_net::{NetConfig, Port};
use ipnet::Ipv4Net;

const TAP_PREFIX: &str = "fam";
const FROM_TAP: &str = "from_tap";
const TO_TAP: &str = "to_tap";
const GUESTS: &str = "guests";

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
         add map inet {table} {GUESTS} {{ type ipv4_addr : verdict; }}\n"
    );
    write_chains(&mut script, table, &shared_chains(config, gateway));
    for port in ports {
        let tap = &port.tap;
        write_chains(&mut script, table, &port_chains(gateway, port));
        for (map, chain) in [(FROM_TAP, format!("from-{tap}")), (TO_TAP, format!("to-{tap}"))] {
            let _ = writeln!(script, "add element bridge {table} {map} {{ \"{tap}\" : jump {chain} }}");
        }
        let _ = writeln!(script, "add element inet {table} {GUESTS} {{ {} : jump {tap} }}", port.address);
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
    let NetConfig { bridge, dns, nat, guest_ports, .. } = config;
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
    let known =
        opened.into_iter().chain(dns.iter().cloned()).chain([format!("ip daddr {subnet} drop")]).collect();
    let dns_from_bridge = dns.map(|rule| format!("iifname \"{bridge}\" {rule}"));

    let mut chains = vec![
        Chain::plain("bridge", "known".into(), known),
        Chain::plain(
            "bridge",
            "public".into(),
            vec![format!("ip daddr {} drop", braces(RESERVED)), "accept".into()],
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
            [
                format!("iifname {taps} drop"),
                format!("iifname \"{bridge}\" meta nfproto ipv6 drop"),
                format!("iifname \"{bridge}\" ip saddr != {subnet} drop"),
            ]
            .into_iter()
            .chain(dns_from_bridge.clone())
            .chain([format!("iifname \"{bridge}\" fib daddr type local ip daddr != {gateway} drop")])
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
                .collect(),
        ),
        Chain::base(
            "inet",
            "forward",
            "type filter hook forward priority -10",
            vec![
                format!("oifname {taps} drop"),
                format!("iifname \"{bridge}\" oifname \"{bridge}\" drop"),
                format!("oifname \"{bridge}\" meta nfproto ipv6 drop"),
                format!("oifname \"{bridge}\" ct state != {{ established, related }} drop"),
                format!("iifname \"{bridge}\" tcp flags syn tcp option maxseg size set rt mtu"),
                format!("oifname \"{bridge}\" tcp flags syn tcp option maxseg size set rt mtu"),
                format!("iifname \"{bridge}\" ct state new ip saddr vmap @{GUESTS}"),
            ],
        ),
    ];
    if *nat {
        chains.push(Chain::base(
            "inet",
            "postrouting",
            "type nat hook postrouting priority 100",
            vec![format!("ip saddr {subnet} ip daddr != {subnet} oifname != \"{bridge}\" masquerade")],
        ));
    }
    chains
}

fn port_chains(gateway: Ipv4Addr, port: &Port) -> Vec<Chain> {
    let Port { tap, address, policy, .. } = port;
    let mac = MacText(port.mac);
    let limit = policy.bandwidth_mbit.map(limit_rule);

    let mut from = vec![
        format!("ether saddr != {mac} drop"),
        format!(
            "ether type arp arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp saddr ether {mac} \
             arp saddr ip {address} arp daddr ip {{ {gateway}, {address} }} accept"
        ),
        "ether type != ip drop".into(),
        "ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 drop".into(),
        format!("ip saddr != {address} drop"),
    ];
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

    let mut to =
        vec![format!("ether type arp arp daddr ip {address} accept"), "ether type != ip drop".into()];
    to.extend(limit);
    to.extend([format!("ip daddr {address} accept"), "drop".into()]);

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
