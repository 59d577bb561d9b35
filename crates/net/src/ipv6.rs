//! The guests' IPv6, where there is any: a network of its own beside the one of IPv4, with the same slots.

use std::net::Ipv6Addr;

use fireactions_model::network_rules;
use ipnet::Ipv6Net;

use crate::NetError;

/// The guests' IPv6 network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6Config {
    /// The gateway (the bridge) has its first address, slots have the next. /64 to /104, unique local or global.
    pub subnet: Ipv6Net,
    /// Masquerade what guests send to other networks. Without it the upstream router needs a route back.
    pub nat: bool,
}

/// Global unicast. Whatever is not in it is reserved: unique local and link-local networks, multicast, and addresses
/// that have one of IPv4 in them (mapped, NAT64).
pub(crate) const GLOBAL: Ipv6Net = net(0x2000, 0, 0, 3);

/// What of it guests never reach: what is not globally reachable in IANA's special-purpose registry (RFC 6890 and its
/// updates), and 6to4, which has an address of IPv4 in it.
pub(crate) const RESERVED: [Ipv6Net; 5] = [
    net(0x2001, 0, 0, 23),
    net(0x2001, 0x0db8, 0, 32),
    net(0x2002, 0, 0, 16),
    net(0x2620, 0x4f, 0x8000, 48),
    net(0x3fff, 0, 0, 20),
];

const fn net(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

impl Ipv6Config {
    pub(crate) fn check(&self) -> Result<(), NetError> {
        network_rules::subnet6(self.subnet).map_err(|rule| NetError::Config {
            what: "IPv6 subnet",
            value: self.subnet.to_string(),
            rule,
        })
    }

    /// The bridge's address.
    pub(crate) fn gateway(&self) -> Ipv6Addr {
        self.nth(1)
    }

    /// The address of `slot`: its number is that of its IPv4 address.
    pub(crate) fn address(&self, slot: u32) -> Ipv6Addr {
        self.nth(u128::from(slot) + 2)
    }

    fn nth(&self, n: u128) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.subnet.network().to_bits() | n)
    }
}

/// The link-local address that an interface makes for itself from its MAC (RFC 4291, appendix A).
pub(crate) fn link_local(mac: [u8; 6]) -> Ipv6Addr {
    let [first, rest @ ..] = mac;
    let mut octets = [0; 16];
    octets[..2].copy_from_slice(&[0xfe, 0x80]);
    octets[8..11].copy_from_slice(&[first ^ 2, rest[0], rest[1]]);
    octets[11..13].copy_from_slice(&[0xff, 0xfe]);
    octets[13..].copy_from_slice(&rest[2..]);
    octets.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_follow_from_slots_and_macs() {
        let config = Ipv6Config { subnet: "fd12:3456:789a::/64".parse().unwrap(), nat: true };
        assert_eq!(config.gateway().to_string(), "fd12:3456:789a::1");
        assert_eq!(config.address(0).to_string(), "fd12:3456:789a::2");
        assert_eq!(config.address(65_535).to_string(), "fd12:3456:789a::1:1");
        assert_eq!(link_local([0x02, 0xfa, 0, 0, 0, 9]).to_string(), "fe80::fa:ff:fe00:9");
    }
}
