//! The firewall: which chains there are and what they say. Every value that goes into a rule is typed or was checked
//! by [`NetConfig::check`], so no input can smuggle in a command.
//!
//! Bridged frames are filtered in a table of the `bridge` family, which sees each frame with the tap that it
//! came from and needs no `br_netfilter`; what the host routes or takes in itself is filtered in an `inet`
//! table. A guest's frame passes, in this order:
//!
//! ```text
//! bridge prerouting   tap → from-TAP: MAC, ARP and IP are the machine's own; bandwidth up; listed host ports;
//!                     DNS; never the guests' subnet; the pool's networks; no reserved network; else out
//! bridge forward      tap to tap: never (the taps are isolated ports besides)
//! inet   prerouting   an address of the host that is not the gateway's: never, before any DNAT changes it
//! inet   forward      in from the bridge and out to it (hairpin): never; connection limit
//! inet   postrouting  masquerade
//! bridge postrouting  → to-TAP: only ARP and IP for the machine's own address; bandwidth down
//! ```
//!
//! A tap that no machine owns has no entry in the maps, and its frames are dropped both ways.

use std::collections::BTreeSet;

use fireactions_model::Protocol;
use ipnet::Ipv4Net;

use crate::NetConfig;
use crate::config::TAP_PREFIX;
use crate::network::Port;

/// What guests never reach unless their pool allows it: every IPv4 block that is not globally reachable, from
/// IANA's special-purpose registry (RFC 6890 and its updates), multicast and class E with the broadcast.
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

/// The family of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    /// Frames, by port.
    Bridge,
    /// Packets that the host routes or takes in.
    Inet,
}

impl Family {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Inet => "inet",
        }
    }
}

/// A chain with all its rules.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) family: Family,
    pub(crate) name: String,
    /// `type … hook … priority …` of a base chain.
    pub(crate) hook: Option<&'static str>,
    pub(crate) rules: Vec<String>,
}

impl Chain {
    fn base(family: Family, name: &str, hook: &'static str, rules: Vec<String>) -> Self {
        Self { family, name: name.into(), hook: Some(hook), rules }
    }

    fn plain(family: Family, name: String, rules: Vec<String>) -> Self {
        Self { family, name, hook: None, rules }
    }
}

/// The `bridge` maps from a tap to its machine's chains.
pub(crate) const FROM_TAP: &str = "from_tap";
pub(crate) const TO_TAP: &str = "to_tap";
/// The `inet` map of guests' connection limits, by address.
pub(crate) const GUESTS: &str = "guests";

pub(crate) fn from_chain(tap: &str) -> String {
    format!("from-{tap}")
}

pub(crate) fn to_chain(tap: &str) -> String {
    format!("to-{tap}")
}

/// The tap that a chain was made for; none for the chains that all share.
pub(crate) fn tap_of_chain(chain: &str) -> Option<&str> {
    let tap = chain.strip_prefix("from-").or_else(|| chain.strip_prefix("to-")).unwrap_or(chain);
    tap.starts_with(TAP_PREFIX).then_some(tap)
}

/// The chains that all machines share.
pub(crate) fn shared_chains(config: &NetConfig) -> Vec<Chain> {
    use Family::{Bridge, Inet};
    let NetConfig { bridge, dns, nat, .. } = config;
    let subnet = config.subnet.trunc();
    let gateway = config.gateway();
    let taps = format!("\"{TAP_PREFIX}*\"");
    // Frames to 01:80:c2:00:00:0X are not bridged but handed to the host as if they came in on the tap itself.
    let link_local = "ether daddr & ff:ff:ff:ff:ff:f0 == 01:80:c2:00:00:00";

    // A DNS server may be private, or another address of the host; on its port only.
    let dns = (!dns.is_empty())
        .then(|| format!("ip daddr {} meta l4proto {{ tcp, udp }} th dport 53 accept", braces(dns)));
    let known = dns.iter().cloned().chain([format!("ip daddr {subnet} drop")]).collect();
    let dns_from_bridge = dns.map(|rule| format!("iifname \"{bridge}\" {rule}"));

    let mut chains = vec![
        Chain::plain(Bridge, "known".into(), known),
        Chain::plain(
            Bridge,
            "public".into(),
            vec![format!("ip daddr {} drop", braces(RESERVED)), "accept".into()],
        ),
        Chain::base(
            Bridge,
            "prerouting",
            "type filter hook prerouting priority -300",
            vec![
                format!("iifname != {taps} accept"),
                format!("{link_local} drop"),
                format!("iifname vmap @{FROM_TAP}"),
                "drop".into(),
            ],
        ),
        Chain::base(
            Bridge,
            "input",
            "type filter hook input priority -300",
            vec![format!("iifname {taps} {link_local} drop")],
        ),
        Chain::base(
            Bridge,
            "forward",
            "type filter hook forward priority -300",
            vec![format!("iifname {taps} drop"), format!("oifname {taps} drop")],
        ),
        Chain::base(
            Bridge,
            "postrouting",
            "type filter hook postrouting priority 300",
            vec![format!("oifname != {taps} accept"), format!("oifname vmap @{TO_TAP}"), "drop".into()],
        ),
        Chain::base(
            Inet,
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
            Inet,
            "input",
            "type filter hook input priority -10",
            [format!("iifname \"{bridge}\" ct state new ip saddr vmap @{GUESTS}")]
                .into_iter()
                .chain(dns_from_bridge)
                .chain([format!("iifname \"{bridge}\" ip daddr != {gateway} drop")])
                .collect(),
        ),
        Chain::base(
            Inet,
            "forward",
            "type filter hook forward priority -10",
            vec![
                format!("oifname {taps} drop"),
                format!("iifname \"{bridge}\" oifname \"{bridge}\" drop"),
                format!("oifname \"{bridge}\" meta nfproto ipv6 drop"),
                format!("oifname \"{bridge}\" ct state != {{ established, related }} drop"),
                format!("iifname \"{bridge}\" ct state new ip saddr vmap @{GUESTS}"),
            ],
        ),
    ];
    if *nat {
        chains.push(Chain::base(
            Inet,
            "postrouting",
            "type nat hook postrouting priority 100",
            vec![format!("ip saddr {subnet} ip daddr != {subnet} oifname != \"{bridge}\" masquerade")],
        ));
    }
    chains
}

/// The chains of one machine.
pub(crate) fn port_chains(config: &NetConfig, port: &Port) -> Vec<Chain> {
    let Port { tap, address, policy, .. } = port;
    let mac = MacText(port.mac);
    let gateway = config.gateway();
    let limit = policy.bandwidth_mbit.map(limit_rule);

    let mut from = vec![
        format!("ether saddr != {mac} drop"),
        // Only the guest's own address may be told, and only the gateway's may be asked for.
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
    // nft refuses a set whose networks overlap.
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
        Chain::plain(Family::Bridge, from_chain(tap), from),
        Chain::plain(Family::Bridge, to_chain(tap), to),
    ];
    // Made even when empty, so that a limit that was lifted does not stay behind.
    let count =
        (policy.max_connections > 0).then(|| format!("ct count over {} drop", policy.max_connections));
    chains.push(Chain::plain(Family::Inet, tap.clone(), count.into_iter().collect()));
    chains
}

/// Drops what comes faster than `mbit`. The kernel's bucket holds one second's worth and the burst beside; the
/// burst is there so that, at low rates, frames of 64 KiB (segmentation offload) fit in at all. Above 100 Gbit/s
/// the kernel's arithmetic would overflow.
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
