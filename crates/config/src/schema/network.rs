//! The network of the machines: one bridge for all.

use std::net::Ipv4Addr;

use ipnet::{Ipv4Net, Ipv6Net};
use schemars::JsonSchema;
use serde::Deserialize;

use super::patterns;

/// The network of the machines: one bridge for all.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// Name of the bridge, up to 15 characters. The server creates and removes it.
    #[schemars(extend("pattern" = patterns::BRIDGE))]
    pub bridge: String,
    /// Private IPv4 network of the machines, from `/8` to `/29`. The bridge has its first address.
    #[schemars(with = "String", extend("pattern" = patterns::SUBNET))]
    pub subnet: Ipv4Net,
    /// Whether the machines' packets leave the host with the host's own address (masquerading).
    pub nat: bool,
    /// IPv6 of the machines, beside IPv4. Without it, they have none.
    pub ipv6: Option<Ipv6Config>,
    /// DNS servers of the guests. The pool's network rules must allow them.
    #[schemars(with = "Vec<String>", inner(regex(pattern = patterns::IPV4)))]
    pub dns: Vec<Ipv4Addr>,
    /// Domains that the guests complete short names with, in this order: the `search` line of their `resolv.conf`.
    #[schemars(length(max = 16), inner(regex(pattern = patterns::DOMAIN)), example = ["corp.example.com"])]
    pub dns_search: Vec<String>,
    /// Options of the guests' `resolv.conf`, such as `ndots:2` or `timeout:1`.
    #[schemars(length(max = 16), inner(regex(pattern = patterns::DNS_OPTION)), example = ["timeout:1"])]
    pub dns_options: Vec<String>,
    /// The largest packet, in bytes, that guests send; from 576 to 1500. When absent, it is what the host's default route takes.
    #[schemars(range(min = 576, max = 1500), example = 1400)]
    pub mtu: Option<u16>,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        let first = Ipv4Addr::new(172, 30, 0, 0);
        Self {
            bridge: "fireactions0".to_owned(),
            subnet: Ipv4Net::new_assert(first, 22),
            nat: true,
            ipv6: None,
            dns: vec![Ipv4Addr::new(1, 1, 1, 1), Ipv4Addr::new(9, 9, 9, 9)],
            dns_search: Vec::new(),
            dns_options: Vec::new(),
            mtu: None,
        }
    }
}

impl NetworkConfig {
    /// The bridge's address: the subnet's first.
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.subnet.network().to_bits() | 1)
    }

    /// How many machines the subnet has addresses for: all but the network's, the broadcast and the bridge's.
    pub fn capacity(&self) -> u32 {
        let addresses = 1_u64 << (32 - u32::from(self.subnet.prefix_len()));
        u32::try_from(addresses.saturating_sub(3)).unwrap_or(u32::MAX)
    }
}

/// IPv6 of the machines.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ipv6Config {
    /// Their network, from `/64` to `/104`; the bridge has its first address. Either a unique local one (`fd`, and 40 bits that you
    /// choose at random), or one that your router leads to this host.
    #[schemars(with = "String", extend("pattern" = patterns::SUBNET6), example = "fd5a:7c1e:9b3d::/64")]
    pub subnet: Ipv6Net,
    /// Whether the machines' packets leave the host with the host's own address (NAT66). A unique local network needs it, or a router
    /// that knows the way back.
    #[serde(default = "yes")]
    pub nat: bool,
}

fn yes() -> bool {
    true
}
