//! What rules ask of packets.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::ip::Ip;
use super::rule::{Base, Part, Rule};
use super::set::{Set, address_key};
use super::uapi::Family;
use crate::netfilter::{NFPROTO_IPV4, NFPROTO_IPV6};

// linux/netfilter/nf_tables.h
const NFT_META_PROTOCOL: u32 = 1;
const NFT_META_IIFNAME: u32 = 6;
const NFT_META_OIFNAME: u32 = 7;
const NFT_META_NFPROTO: u32 = 15;
const NFT_META_L4PROTO: u32 = 16;
const NFT_META_IIFGROUP: u32 = 21;
const NFT_META_OIFGROUP: u32 = 22;
const NFT_CT_STATE: u32 = 0;
const NFTA_FIB_F_DADDR: u32 = 2;
const NFT_FIB_RESULT_ADDRTYPE: u32 = 3;
/// linux/rtnetlink.h
const RTN_LOCAL: u32 = 2;
pub(crate) const ETHERTYPE_IPV4: u16 = 0x0800;
pub(crate) const ETHERTYPE_ARP: u16 = 0x0806;
pub(crate) const ETHERTYPE_IPV6: u16 = 0x86dd;
/// Of connection tracking (include/net/netfilter/nf_conntrack_tuple_common.h): bits by which nftables knows the states.
const CT_STATE_NEW: u32 = 8;
/// In an IPv6 header: what is next, and the hop limit behind it. ICMPv6 that was never forwarded (RFC 4861, section 7.1).
const NEXT_HEADER: u32 = 6;
const NEIGHBOUR_HEADER: [u8; 2] = [58, 255];
/// In a neighbour message (RFC 4861, sections 4.3 and 4.4).
const ND_TARGET: u32 = 8;
/// Of a TCP header.
const IPPROTO_TCP: u8 = 6;
const TCP_FLAGS: u32 = 13;
const TCP_SYN: u8 = 2;
/// IFNAMSIZ.
const NAME: usize = 16;

/// Whether a thing must be so, or must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Is {
    So,
    Not,
}

/// How machines of one link find each other by IPv6: the types of ICMPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Neighbour {
    Solicitation = 135,
    Advertisement = 136,
}

/// Links by name.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Name<'a> {
    /// This one.
    Of(&'a str),
    /// All whose names begin like this.
    Prefix(&'a str),
}

impl Name<'_> {
    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Of(name) => super::set::link_key(name),
            Self::Prefix(start) => start.bytes().take(NAME).collect(),
        }
    }
}

impl Rule {
    /// The link that the packet came in by.
    pub(crate) fn in_by(self, is: Is, name: Name<'_>) -> Self {
        self.meta(NFT_META_IIFNAME).compare(is == Is::So, &name.bytes())
    }

    /// The link that it goes out by.
    pub(crate) fn out_by(self, is: Is, name: Name<'_>) -> Self {
        self.meta(NFT_META_OIFNAME).compare(is == Is::So, &name.bytes())
    }

    /// The group of the link that the packet came in by.
    pub(crate) fn in_by_group(self, is: Is, group: u32) -> Self {
        self.meta(NFT_META_IIFGROUP).compare(is == Is::So, &group.to_ne_bytes())
    }

    /// The group of the link that it goes out by.
    pub(crate) fn out_by_group(self, is: Is, group: u32) -> Self {
        self.meta(NFT_META_OIFGROUP).compare(is == Is::So, &group.to_ne_bytes())
    }

    /// Goes where the map leads from the link that the packet came in by.
    pub(crate) fn by_incoming_link(self, map: &str) -> Self {
        self.meta(NFT_META_IIFNAME).look_up(map)
    }

    /// Goes where the map leads from the link that the packet goes out by.
    pub(crate) fn by_outgoing_link(self, map: &str) -> Self {
        self.meta(NFT_META_OIFNAME).look_up(map)
    }

    /// Goes where the map leads from the sender's address.
    pub(crate) fn by_source(self, version: Ip, map: &str) -> Self {
        self.load_source(version).look_up(map)
    }

    /// The MAC that the frame comes from.
    pub(crate) fn ether_source(self, is: Is, mac: [u8; 6]) -> Self {
        self.payload(Base::Link, 6, 6).compare(is == Is::So, &mac)
    }

    /// Some bits of the MAC that it goes to.
    pub(crate) fn ether_destination(self, mask: [u8; 6], value: [u8; 6]) -> Self {
        self.payload(Base::Link, 0, 6).mask(&mask).compare(true, &value)
    }

    /// The frame's type.
    pub(crate) fn ether_type(self, is: Is, kind: u16) -> Self {
        self.payload(Base::Link, 12, 2).compare(is == Is::So, &kind.to_be_bytes())
    }

    /// ARP that tells of an IPv4 address on Ethernet, from this MAC and address.
    pub(crate) fn arp_from(self, mac: [u8; 6], address: Ipv4Addr) -> Self {
        let sender = [&mac[..], &address.octets()].concat();
        self.ether_type(Is::So, ETHERTYPE_ARP)
            .payload(Base::Network, 0, 4)
            .compare(true, &[0, 1, 8, 0])
            .payload(Base::Network, 4, 2)
            .compare(true, &[6, 4])
            .payload(Base::Network, 8, 10)
            .compare(true, &sender)
    }

    /// The address that ARP asks for.
    pub(crate) fn arp_about(self, addresses: Set) -> Self {
        self.payload(Base::Network, 24, 4).among(Is::So, addresses)
    }

    /// Is of this version, if the rule has not said so yet.
    pub(crate) fn ip(mut self, version: Ip) -> Self {
        if self.ip.replace(version) == Some(version) {
            return self;
        }
        match (self.family, version) {
            (Family::Bridge, Ip::V4) => self.protocol(ETHERTYPE_IPV4),
            (Family::Bridge, Ip::V6) => self.protocol(ETHERTYPE_IPV6),
            (Family::Inet, Ip::V4) => self.meta(NFT_META_NFPROTO).compare(true, &[NFPROTO_IPV4]),
            (Family::Inet, Ip::V6) => self.meta(NFT_META_NFPROTO).compare(true, &[NFPROTO_IPV6]),
        }
    }

    fn protocol(self, kind: u16) -> Self {
        self.meta(NFT_META_PROTOCOL).compare(true, &kind.to_be_bytes())
    }

    /// A message by which machines of one link find each other. Without extension headers, which none needs.
    pub(crate) fn neighbour(self, kind: Neighbour) -> Self {
        self.ip(Ip::V6)
            .payload(Base::Network, NEXT_HEADER, 2)
            .compare(true, &NEIGHBOUR_HEADER)
            .payload(Base::Transport, 0, 1)
            .compare(true, &[kind as u8])
    }

    /// The address that such a message asks for, or tells the MAC of.
    pub(crate) fn neighbour_about(self, address: Ipv6Addr) -> Self {
        self.payload(Base::Transport, ND_TARGET, 16).compare(true, &address.octets())
    }

    /// The sender's address.
    pub(crate) fn source(self, is: Is, network: impl Into<IpNet>) -> Self {
        let network = network.into();
        self.load_source(Ip::of(network.addr())).inside(is, network)
    }

    /// The sender's address is one of these.
    pub(crate) fn source_among(self, addresses: Set) -> Self {
        self.load_source(addresses.version()).among(Is::So, addresses)
    }

    /// The receiver's address.
    pub(crate) fn destination(self, is: Is, network: impl Into<IpNet>) -> Self {
        let network = network.into();
        self.load_destination(Ip::of(network.addr())).inside(is, network)
    }

    /// The receiver's address is one of these.
    pub(crate) fn destination_among(self, addresses: Set) -> Self {
        self.load_destination(addresses.version()).among(Is::So, addresses)
    }

    /// The receiver's address is in one of these networks, which are of one version.
    pub(crate) fn destination_within<N: Into<IpNet> + Copy>(self, networks: &[N]) -> Self {
        let networks: Vec<IpNet> = networks.iter().map(|network| (*network).into()).collect();
        match networks[..] {
            [network] => self.destination(Is::So, network),
            _ => self.destination_among(Set::networks(&networks)),
        }
    }

    fn load_source(self, version: Ip) -> Self {
        let (offset, length) = version.source();
        self.ip(version).payload(Base::Network, offset, length)
    }

    fn load_destination(self, version: Ip) -> Self {
        let (offset, length) = version.destination();
        self.ip(version).payload(Base::Network, offset, length)
    }

    fn inside(self, is: Is, network: IpNet) -> Self {
        let whole = network.prefix_len() == network.max_prefix_len();
        let masked = if whole { self } else { self.mask(&address_key(network.netmask())) };
        masked.compare(is == Is::So, &address_key(network.network()))
    }

    /// TCP or UDP to this port.
    pub(crate) fn tcp_or_udp_to(self, port: u16) -> Self {
        self.meta(NFT_META_L4PROTO)
            .among(Is::So, Set::protocols([libc::IPPROTO_TCP, libc::IPPROTO_UDP]))
            .payload(Base::Transport, 2, 2)
            .compare(true, &port.to_be_bytes())
    }

    /// Asks for a TCP connection, or answers that.
    pub(crate) fn tcp_syn(self) -> Self {
        self.meta(NFT_META_L4PROTO)
            .compare(true, &[IPPROTO_TCP])
            .payload(Base::Transport, TCP_FLAGS, 1)
            .mask(&[TCP_SYN])
            .compare(false, &[0])
    }

    /// To one of these ports.
    pub(crate) fn ports_among(self, ports: Set) -> Self {
        self.meta(NFT_META_L4PROTO).payload_beside(Base::Transport, 2, 2).among(Is::So, ports)
    }

    /// The receiver's address is one of the host's.
    pub(crate) fn destination_is_local(self) -> Self {
        let fib = self.with("fib", |data| {
            data.be32(3, NFTA_FIB_F_DADDR).be32(2, NFT_FIB_RESULT_ADDRTYPE).be32(1, 1);
        });
        fib.compare(true, &RTN_LOCAL.to_ne_bytes())
    }

    /// Begins a connection.
    pub(crate) fn new_connection(self) -> Self {
        self.ct_state().mask(&CT_STATE_NEW.to_ne_bytes()).compare(false, &[0; 4])
    }

    /// Belongs to no connection that is known.
    pub(crate) fn unknown_connection(self) -> Self {
        self.ct_state().among(Is::Not, Set::known_states())
    }

    fn ct_state(self) -> Self {
        self.with("ct", |data| {
            data.be32(2, NFT_CT_STATE).be32(1, 1);
        })
    }

    /// Comes while the machine has more connections than this.
    pub(crate) fn more_connections_than(self, count: u32) -> Self {
        self.with("connlimit", |data| {
            data.be32(1, count).be32(2, 1);
        })
    }

    /// Matches what is faster than this many bytes per second plus a burst.
    pub(crate) fn faster_than(self, bytes: u64, burst: u32) -> Self {
        self.with("limit", |data| {
            data.be64(1, bytes).be64(2, 1).be32(3, burst).be32(4, 1).be32(5, 1);
        })
    }

    fn among(self, is: Is, set: Set) -> Self {
        match is {
            // A comparison is faster where there is but one.
            Is::So if set.only().is_some() => self.compare(true, set.only().unwrap_or_default()),
            Is::So => self.with_part(Part::Among(set)),
            Is::Not => self.with_part(Part::NotAmong(set)),
        }
    }
}
