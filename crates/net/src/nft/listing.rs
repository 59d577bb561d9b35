//! What the kernel has of our tables.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

use super::uapi::{
    Family, NFNL_SUBSYS_NFTABLES, NFT_MSG_GETCHAIN, NFT_MSG_GETRULE, NFT_MSG_GETSET, NFT_MSG_GETSETELEM,
    NFTA_CHAIN_NAME, NFTA_CHAIN_TABLE, NFTA_DATA_VALUE, NFTA_DATA_VERDICT, NFTA_RULE_CHAIN, NFTA_RULE_TABLE,
    NFTA_SET_ELEM_DATA, NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_SET_ELEM_LIST_SET,
    NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_NAME, NFTA_SET_TABLE, NFTA_VERDICT_CHAIN,
};
use crate::netfilter::{Attributes, Channel, Refusal, attributes, text, value};

/// What there is of tables of one name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// Chains and how many rules each has.
    pub(crate) chains: BTreeMap<(Family, String), usize>,
    /// The named sets and maps.
    pub(crate) sets: BTreeSet<(Family, String)>,
}

/// Lists the tables of a name; one that is not there is empty. Rules are only counted: with a thousand machines there are
/// tens of thousands.
pub(crate) fn list(channel: &Channel, table: &str) -> io::Result<Listing> {
    let mut listing = Listing::default();
    for family in Family::ALL {
        // Asked for one table, a kernel may still give all.
        let ours = |attributes: &[u8], kind| text(attributes, kind) == Some(table);
        let chains = dump(channel, NFT_MSG_GETCHAIN, family, (NFTA_CHAIN_TABLE, table), |all, chain| {
            if ours(chain, NFTA_CHAIN_TABLE) {
                all.extend(text(chain, NFTA_CHAIN_NAME).map(str::to_owned));
            }
        })?;
        let rules = dump(channel, NFT_MSG_GETRULE, family, (NFTA_RULE_TABLE, table), |all, rule| {
            if ours(rule, NFTA_RULE_TABLE) {
                all.extend(text(rule, NFTA_RULE_CHAIN).map(str::to_owned));
            }
        })?;
        let sets = dump(channel, NFT_MSG_GETSET, family, (NFTA_SET_TABLE, table), |all, set| {
            if ours(set, NFTA_SET_TABLE) {
                all.extend(text(set, NFTA_SET_NAME).map(str::to_owned));
            }
        })?;
        listing.chains.extend(chains.into_iter().map(|chain| ((family, chain), 0)));
        for chain in rules {
            *listing.chains.entry((family, chain)).or_default() += 1;
        }
        let named = sets.into_iter().filter(|set| !set.starts_with("__"));
        listing.sets.extend(named.map(|set| (family, set)));
    }
    Ok(listing)
}

/// The elements of a map: keys, and the chain that each leads to. One that is not there is empty.
pub(crate) fn elements(
    channel: &Channel,
    table: &str,
    family: Family,
    map: &str,
) -> io::Result<Vec<(Vec<u8>, String)>> {
    let mut asked = Attributes::default();
    asked.text(NFTA_SET_ELEM_LIST_TABLE, table).text(NFTA_SET_ELEM_LIST_SET, map);
    let kind = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETSETELEM;
    let all = channel.dump(kind, family.number(), &asked, |all: &mut Vec<_>, answer| {
        let list = value(answer, NFTA_SET_ELEM_LIST_ELEMENTS).unwrap_or_default();
        all.extend(attributes(list).filter_map(|(_, element)| {
            let key = value(value(element, NFTA_SET_ELEM_KEY)?, NFTA_DATA_VALUE)?;
            let verdict = value(value(element, NFTA_SET_ELEM_DATA)?, NFTA_DATA_VERDICT)?;
            Some((key.to_vec(), text(verdict, NFTA_VERDICT_CHAIN)?.to_owned()))
        }));
    });
    absent_is_empty(all)
}

fn dump(
    channel: &Channel,
    kind: u16,
    family: Family,
    (table_kind, table): (u16, &str),
    each: impl Fn(&mut Vec<String>, &[u8]),
) -> io::Result<Vec<String>> {
    let mut asked = Attributes::default();
    asked.text(table_kind, table);
    absent_is_empty(channel.dump(NFNL_SUBSYS_NFTABLES << 8 | kind, family.number(), &asked, each))
}

fn absent_is_empty<T: Default>(answer: Result<T, Refusal>) -> io::Result<T> {
    match answer {
        Err(refusal) if refusal.source.raw_os_error() == Some(libc::ENOENT) => Ok(T::default()),
        other => other.map_err(|refusal| refusal.source),
    }
}

/// An address as a key of a map.
pub(crate) fn address(key: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(key) {
        return Some(octets.into());
    }
    <[u8; 16]>::try_from(key).ok().map(IpAddr::from)
}
