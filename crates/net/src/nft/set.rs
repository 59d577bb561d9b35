//! Sets and maps: what their keys are, and the elements of those that belong to a single rule.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::{NFTA_DATA_VALUE, NFTA_LIST_ELEM, NFTA_SET_ELEM_FLAGS, NFTA_SET_ELEM_KEY};
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
    /// Its number in `nft` (include/datatype.h): types are joined six bits apart.
    pub(super) const fn number(self) -> u32 {
        const PROTOCOL: u32 = 12;
        const PORT: u32 = 13;
        match self {
            Self::Address => 7,
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
            Self::Link => 16,
        }
    }

    /// What `nft` keeps with a set to read its elements by: the order of the key's bytes (`NFTNL_UDATA_SET_*` of libnftnl),
    /// and for a map that of the verdicts that it has.
    pub(super) fn userdata(self, map: bool) -> Vec<u8> {
        let order: u32 = match self {
            Self::Link | Self::Protocol | Self::State => 1,
            Self::Address => 2,
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

    pub(crate) fn addresses(addresses: impl IntoIterator<Item = Ipv4Addr>) -> Self {
        Self::of(Key::Address, addresses.into_iter().map(|address| address.octets().to_vec()))
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

    /// All addresses of these networks. Networks that meet are one range.
    pub(crate) fn networks(networks: &[Ipv4Net]) -> Self {
        let mut all: Vec<_> =
            networks.iter().map(|net| (net.network().to_bits(), net.broadcast().to_bits())).collect();
        all.sort_unstable();
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for (first, last) in all {
            match ranges.last_mut() {
                Some((_, end)) if end.checked_add(1).is_none_or(|next| first <= next) => {
                    *end = last.max(*end);
                }
                _ => ranges.push((first, last)),
            }
        }
        let mut elements = Vec::new();
        // As nft has it: nothing, up to the first that is in it.
        if ranges.first().is_some_and(|(first, _)| *first > 0) {
            elements.push(Element { key: vec![0; 4], end: true });
        }
        for (first, last) in ranges {
            elements.push(Element { key: first.to_be_bytes().to_vec(), end: false });
            if let Some(next) = last.checked_add(1) {
                elements.push(Element { key: next.to_be_bytes().to_vec(), end: true });
            }
        }
        Self { key: Key::Address, ranges: true, elements }
    }

    /// The value of a set of one address.
    pub(super) fn only(&self) -> Option<&[u8]> {
        match &self.elements[..] {
            [one] if self.key == Key::Address && !self.ranges => Some(&one.key),
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

/// A link's name as a key.
pub(crate) fn link_key(link: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = link.bytes().take(16).collect();
    bytes.resize(16, 0);
    bytes
}
