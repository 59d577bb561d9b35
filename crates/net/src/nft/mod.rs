//! nftables as the kernel has it: rules, transactions of changes, and lists of what is there. What is written here is
//! what the program `nft` would write for the same rules, so that `nft list` shows them as people write them.

mod ip;
mod listing;
mod matches;
mod rule;
mod set;
mod transaction;
mod uapi;

pub(crate) use ip::Ip;
pub(crate) use listing::{Listing, address, elements, list};
pub(crate) use matches::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Is, Name, Neighbour};
pub(crate) use rule::Rule;
pub(crate) use set::{Key, Set, address_key, link_key};
pub(crate) use transaction::{Hook, Transaction};
pub(crate) use uapi::{Family, NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN, NFT_MSG_NEWGEN};
