//! Sets and maps: what their keys are, and the elements of those that belong to a single rule.

use std::net::IpAddr;

use ipnet::IpNet;

use super::ip::Ip;
use super::uapi::{NFTA_DATA_VALUE, NFTA_LIST_ELEM, NFTA_SET_ELEM_FLAGS, NFTA_SET_ELEM_KEY};
use crate::netfilter::Attributes;

// linux/netfilter/nf_tables.h
pub(super) const NFT_SET_ANONYMOUS: u32 = 1;
pub(super) const NFT_SET_CONSTANT: u32 = 2;
pub(super) const NFT_SET_INTERVAL: u32 = 4;
pub(super) const NFT_SET_MAP: u32 = 8;
const NFT_SET_ELEM_INTERVAL_END: u32 = 1;

/// What a key is. The kernel knows its length only; the rest is for `nft`, which shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// An IPv4 address.
    Address,
    /// An IPv6 address.
    Address6,
    /// The name of a link.
    Link,
    /// A protocol above IP.
    Protocol,
    /// A protocol above IP and a port.
    ProtocolAndPort,
    /// States of connections.
    State,
}

impl Key {
    /// That of addresses like this one.
    fn of(address: Option<IpAddr>) -> Self {
        match address {
            Some(IpAddr::V6(_)) => Self::Address6,
            _ => Self::Address,
        }
    }

    /// Its number in `nft` (include/datatype.h): types are joined six bits apart.
    pub(super) const fn number(self) -> u32 {
        const PROTOCOL: u32 = 12;
        const PORT: u32 = 13;
        match self {
            Self::Address => 7,
            Self::Address6 => 8,
            Self::Link => 41,
            Self::Protocol => PROTOCOL,
            Self::ProtocolAndPort => PROTOCOL << 6 | PORT,
            Self::State => 26,
        }
    }

    pub(super) const fn length(self) -> u32 {
        match self {
            Self::Protocol => 1,
            Self::Address | Self::State => 4,
            Self::ProtocolAndPort => 8,
            Self::Address6 | Self::Link => 16,
        }
    }

    /// What `nft` keeps with a set to read its elements by: the order of the key's bytes (`NFTNL_UDATA_SET_*` of libnftnl),
    /// and for a map that of the verdicts that it has.
    pub(super) fn userdata(self, map: bool) -> Vec<u8> {
        let order: u32 = match self {
            Self::Link | Self::Protocol | Self::State => 1,
            Self::Address | Self::Address6 => 2,
            Self::ProtocolAndPort => 0,
        };
        let field = |kind: u8, value: u32| [&[kind, 4][..], &value.to_ne_bytes()].concat();
        let mut data = field(0, order);
        if map {
            data.extend(field(1, 0));
        }
        data
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Element {
    key: Vec<u8>,
    /// The first that is not in it any more.
    end: bool,
}

/// A set that belongs to one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Set {
    pub(super) key: Key,
    pub(super) ranges: bool,
    elements: Vec<Element>,
}

impl Set {
    fn of(key: Key, values: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort();
        values.dedup();
        let elements = values.into_iter().map(|key| Element { key, end: false }).collect();
        Self { key, ranges: false, elements }
    }

    /// Addresses of one version.
    pub(crate) fn addresses(addresses: impl IntoIterator<Item = impl Into<IpAddr>>) -> Self {
        let addresses: Vec<IpAddr> = addresses.into_iter().map(Into::into).collect();
        Self::of(Key::of(addresses.first().copied()), addresses.into_iter().map(address_key))
    }

    /// The version of addresses.
    pub(super) fn version(&self) -> Ip {
        if self.key == Key::Address6 { Ip::V6 } else { Ip::V4 }
    }

    pub(super) fn protocols(protocols: impl IntoIterator<Item = i32>) -> Self {
        Self::of(Key::Protocol, protocols.into_iter().map(|protocol| vec![protocol.to_le_bytes()[0]]))
    }

    /// Protocols, each with a port.
    pub(crate) fn ports(ports: impl IntoIterator<Item = (i32, u16)>) -> Self {
        let key = |(protocol, port): (i32, u16)| {
            let [high, low] = port.to_be_bytes();
            vec![protocol.to_le_bytes()[0], 0, 0, 0, high, low, 0, 0]
        };
        Self::of(Key::ProtocolAndPort, ports.into_iter().map(key))
    }

    /// Of connections that are known: `established` and `related`.
    pub(super) fn known_states() -> Self {
        Self::of(Key::State, [2_u32, 4].map(|state| state.to_ne_bytes().to_vec()))
    }

    /// All addresses of these networks, which are of one version. Networks that meet are one range.
    pub(crate) fn networks(networks: &[IpNet]) -> Self {
        let key = Key::of(networks.first().map(IpNet::addr));
        // Numbers as wide as IPv6 for both; the bytes of a key are the last ones.
        let most = u128::MAX >> (128 - key.length() * 8);
        let bytes = |number: u128| number.to_be_bytes()[16 - key.length() as usize..].to_vec();
        let mut all: Vec<_> =
            networks.iter().map(|net| (number(net.network()), number(net.broadcast()))).collect();
        all.sort_unstable();
        let mut ranges: Vec<(u128, u128)> = Vec::new();
        for (first, last) in all {
            match ranges.last_mut() {
                Some((_, end)) if *end == most || first <= *end + 1 => *end = last.max(*end),
                _ => ranges.push((first, last)),
            }
        }
        let mut elements = Vec::new();
        // As nft has it: nothing, up to the first that is in it.
        if ranges.first().is_some_and(|(first, _)| *first > 0) {
            elements.push(Element { key: bytes(0), end: true });
        }
        for (first, last) in ranges {
            elements.push(Element { key: bytes(first), end: false });
            if last < most {
                elements.push(Element { key: bytes(last + 1), end: true });
            }
        }
        Self { key, ranges: true, elements }
    }

    /// The value of a set of one address.
    pub(super) fn only(&self) -> Option<&[u8]> {
        match &self.elements[..] {
            [one] if matches!(self.key, Key::Address | Key::Address6) && !self.ranges => Some(&one.key),
            _ => None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.elements.len()
    }

    /// The elements, in lists that are short enough for one message each.
    pub(super) fn lists(&self) -> impl Iterator<Item = impl FnOnce(&mut Attributes)> {
        self.elements.chunks(1000).map(|elements| {
            move |list: &mut Attributes| {
                for element in elements {
                    list.nest(NFTA_LIST_ELEM, |attributes| {
                        if element.end {
                            attributes.be32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
                        }
                        attributes.nest_bytes(NFTA_SET_ELEM_KEY, NFTA_DATA_VALUE, &element.key);
                    });
                }
            }
        })
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// An address as a key, and as packets have it.
pub(crate) fn address_key(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// A link's name as a key.
pub(crate) fn link_key(link: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = link.bytes().take(16).collect();
    bytes.resize(16, 0);
    bytes
}
