//! The network as configured, and the numbers that follow from it: every address and MAC comes from a slot
//! number, so that a restarted server computes the same ones and nothing has to be leased.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use fireactions_model::network_rules;
pub(crate) use fireactions_model::network_rules::TAP_PREFIX;
use ipnet::Ipv4Net;

use crate::NetError;
use crate::ipv6::Ipv6Config;

/// Configuration of the one network that all machines of a host share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetConfig {
    /// Name of the bridge, at most 15 bytes.
    pub bridge: String,
    /// Guests' network: the gateway (the bridge) has its first address, slots have the rest. /8 to /29, and
    /// taken from private address space.
    pub subnet: Ipv4Net,
    /// Masquerade what guests send to other networks. Without it the upstream router needs a route back.
    pub nat: bool,
    /// DNS servers that guests may ask (port 53, UDP and TCP) even where the address is private.
    pub dns: Vec<Ipv4Addr>,
    /// The guests' IPv6; none by default.
    pub ipv6: Option<Ipv6Config>,
    /// The largest packet that guests are told to send; by default what the host's way out takes.
    pub mtu: Option<u16>,
    /// TCP ports at the gateway's address that are the guests': all guests reach them, whatever their pool allows, and so does the
    /// host. Nobody else does, by whichever way.
    pub guest_ports: BTreeSet<u16>,
}

/// The bridge of a server that is told nothing else.
pub(crate) const USUAL_BRIDGE: &str = "fireactions0";
/// The table of that server.
pub(crate) const USUAL_TABLE: &str = "fireactions";

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            bridge: USUAL_BRIDGE.into(),
            subnet: Ipv4Net::new_assert(Ipv4Addr::new(172, 30, 0, 0), 22),
            nat: true,
            dns: Vec::new(),
            ipv6: None,
            mtu: None,
            guest_ports: BTreeSet::new(),
        }
    }
}

/// Addresses at the start of the subnet that are no slot's: the network's own and the gateway's.
const RESERVED: u32 = 2;

impl NetConfig {
    /// Checks everything that later goes into a rule or a link.
    pub(crate) fn check(&self) -> Result<(), NetError> {
        let invalid = |what, value: String, rule| Err(NetError::Config { what, value, rule });
        if let Err(rule) = network_rules::bridge_name(&self.bridge) {
            return invalid("bridge name", self.bridge.clone(), rule);
        }
        if let Err(rule) = network_rules::subnet(self.subnet) {
            return invalid("subnet", self.subnet.to_string(), rule);
        }
        for server in &self.dns {
            if let Err(rule) = network_rules::dns_server(*server) {
                return invalid("DNS server", server.to_string(), rule);
            }
            if self.subnet.contains(server) && *server != self.gateway() {
                return invalid(
                    "DNS server",
                    server.to_string(),
                    "it is an address of the guests' own network, where no guest reaches another; give the bridge's \
                     address or one outside",
                );
            }
        }
        self.ipv6.map_or(Ok(()), |ipv6| ipv6.check())
    }

    /// Name of the nftables tables (`inet` and `bridge` family) that this network owns: each network of a host has its own.
    pub(crate) fn table(&self) -> String {
        match self.bridge.as_str() {
            USUAL_BRIDGE => USUAL_TABLE.to_owned(),
            other => format!("{USUAL_TABLE}-{other}"),
        }
    }

    /// The group (`ip link show group N`) of this network's taps, by which they are told from another network's of the host.
    /// No two networks have one gateway, and none is 0, the group of all other links. Without the highest bit, which no two
    /// private addresses differ in alone, and which programs show as a minus sign.
    pub(crate) fn group(&self) -> u32 {
        self.gateway().to_bits() & 0x7fff_ffff
    }

    /// Whether anything that guests send leaves the host with the host's address.
    pub(crate) fn masquerades(&self) -> bool {
        self.nat || self.ipv6.is_some_and(|ipv6| ipv6.nat)
    }

    /// The bridge's address.
    pub(crate) fn gateway(&self) -> Ipv4Addr {
        self.nth(1)
    }

    /// How many slots the subnet has: all its addresses but the network's, the gateway's and the broadcast.
    pub(crate) fn capacity(&self) -> u32 {
        let size = 1_u32 << (32 - u32::from(self.subnet.prefix_len()));
        size - RESERVED - 1
    }

    /// The address of `slot`, if the subnet reaches that far.
    pub(crate) fn address(&self, slot: u32) -> Option<Ipv4Addr> {
        (slot < self.capacity()).then(|| self.nth(RESERVED + slot))
    }

    fn nth(&self, n: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.subnet.network().to_bits() | n)
    }

    /// The bridge's own MAC. It is set because a bridge without one takes over the lowest of its ports' and
    /// so changes, under the guests, when a machine comes or goes. It is also the mark by which a bridge is known as
    /// ours, from the moment on that it exists, and by every version of this program.
    pub(crate) fn bridge_mac(&self) -> [u8; 6] {
        let [a, b, c, d] = self.gateway().octets();
        [BRIDGE_MAC[0], BRIDGE_MAC[1], a, b, c, d]
    }
}

/// What the MAC of every bridge of ours begins with; its address follows.
const BRIDGE_MAC: [u8; 2] = [0x02, 0xfb];

/// The address that we gave to the bridge with this MAC; none if it is not one of ours.
pub(crate) fn address_of_bridge(mac: &[u8]) -> Option<Ipv4Addr> {
    let address: [u8; 4] = mac.strip_prefix(&BRIDGE_MAC)?.try_into().ok()?;
    Some(Ipv4Addr::from(address)).filter(Ipv4Addr::is_private)
}

/// The MAC of `slot`'s guest: locally administered, unicast.
pub(crate) fn mac(slot: u32) -> [u8; 6] {
    let [a, b, c, d] = slot.to_be_bytes();
    [0x02, 0xfa, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn config(prefix: u8) -> NetConfig {
        NetConfig {
            subnet: Ipv4Net::new_assert(Ipv4Addr::new(10, 200, 0, 0), prefix),
            ..NetConfig::default()
        }
    }

    #[test]
    fn a_slash_29_holds_five() {
        let config = config(29);
        assert_eq!(config.gateway(), Ipv4Addr::new(10, 200, 0, 1));
        assert_eq!(config.capacity(), 5);
        assert_eq!(config.address(0), Some(Ipv4Addr::new(10, 200, 0, 2)));
        assert_eq!(config.address(4), Some(Ipv4Addr::new(10, 200, 0, 6)));
        assert_eq!(config.address(5), None);
    }

    #[test]
    fn unsafe_texts_and_useless_networks_are_refused() {
        let base = NetConfig::default();
        assert!(base.check().is_ok());
        let refused = |change: &dyn Fn(&mut NetConfig)| {
            let mut config = base.clone();
            change(&mut config);
            config.check().is_err()
        };
        assert!(refused(&|c| c.bridge = "a; flush ruleset".into()));
        assert!(refused(&|c| c.bridge = "a-name-of-16-byt".into()));
        assert!(refused(&|c| c.bridge = "famous".into()));
        assert!(refused(&|c| c.subnet = Ipv4Net::new_assert(Ipv4Addr::new(8, 8, 0, 0), 16)));
        assert!(refused(&|c| c.subnet = Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 30)));
        assert!(refused(&|c| c.dns = vec![Ipv4Addr::LOCALHOST]));
        assert!(refused(&|c| c.dns = vec![Ipv4Addr::new(172, 30, 0, 2)]));
        assert!(!refused(&|c| c.dns = vec![c.gateway(), Ipv4Addr::new(172, 31, 0, 2)]));
    }

    #[test]
    fn a_bridge_is_ours_by_its_mac() {
        let ours = NetConfig::default();
        assert_eq!(address_of_bridge(&ours.bridge_mac()), Some(ours.gateway()));
        for other in [&[2, 0xfa, 10, 0, 0, 1][..], &[2, 0xfb, 8, 8, 8, 8], &[2, 0xfb, 10, 0, 0], &[]] {
            assert_eq!(address_of_bridge(other), None, "{other:02x?}");
        }
    }

    proptest! {
        #[test]
        fn slots_have_distinct_addresses_inside_the_subnet(prefix in 16_u8..=29) {
            let config = config(prefix);
            let mut seen = HashSet::from([config.gateway(), config.subnet.network(), config.subnet.broadcast()]);
            for slot in (0..config.capacity()).take(4096) {
                let address = config.address(slot).unwrap();
                prop_assert!(config.subnet.contains(&address));
                prop_assert!(seen.insert(address));
            }
            let last = config.address(config.capacity() - 1).unwrap();
            prop_assert_eq!(last.to_bits() + 1, config.subnet.broadcast().to_bits());
        }

        #[test]
        fn macs_are_local_unicast_and_distinct(a: u32, b: u32) {
            prop_assert_eq!(mac(a)[0] & 3, 2);
            prop_assert_eq!(mac(a) == mac(b), a == b);
        }
    }
}
