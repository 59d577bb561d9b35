//! Forgetting the connections of an address. Connection tracking keeps an entry for minutes or days after its last packet,
//! and an entry carries what comes back from outside to the address that it was made for, whoever has that now.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use crate::netfilter::{Attributes, Channel, NFPROTO_IPV4, NFPROTO_IPV6, Refusal};
use crate::nft::address_key;

// linux/netfilter/nfnetlink.h, linux/netfilter/nfnetlink_conntrack.h
const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const IPCTNL_MSG_CT_DELETE: u16 = 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
const CTA_FILTER_F_CTA_IP_SRC: u32 = 1;

/// Of the addresses for documents (RFC 5737, TEST-NET-1): no machine's, and nobody's on a network.
const NOBODY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Whether this kernel can be told to forget the connections of an address, as is done for each machine: tried with an address
/// that has none. The kernel loads what it needs for that (nf_conntrack_netlink) where it may. Blocks for as long as the
/// kernel takes, ten seconds at most.
///
/// # Errors
///
/// The kernel's answer: permission denied without `CAP_NET_ADMIN`, most others where the module is not there.
pub fn can_forget() -> io::Result<()> {
    forget(&Channel::open()?, NOBODY.into()).map_err(|refusal| refusal.source)
}

/// Removes every entry of connections that `address` began, or that lead to it. A kernel that knows no filters (before 5.8)
/// refuses, because it misses what a single entry is found by.
pub(crate) fn forget(channel: &Channel, address: IpAddr) -> Result<(), Refusal> {
    let (family, source) = match address {
        IpAddr::V4(_) => (NFPROTO_IPV4, CTA_IP_V4_SRC),
        IpAddr::V6(_) => (NFPROTO_IPV6, CTA_IP_V6_SRC),
    };
    // One that leads to it has its answers come from there, whatever address it was sent to at first.
    for (tuple, orig, reply) in
        [(CTA_TUPLE_ORIG, CTA_FILTER_F_CTA_IP_SRC, 0), (CTA_TUPLE_REPLY, 0, CTA_FILTER_F_CTA_IP_SRC)]
    {
        let mut filter = Attributes::default();
        filter.nest(tuple, |tuple| {
            tuple.nest_bytes(CTA_TUPLE_IP, source, &address_key(address));
        });
        filter.nest(CTA_FILTER, |flags| {
            flags.bytes(CTA_FILTER_ORIG_FLAGS, &orig.to_ne_bytes());
            flags.bytes(CTA_FILTER_REPLY_FLAGS, &reply.to_ne_bytes());
        });
        channel.ask(NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE, family, &filter)?;
    }
    Ok(())
}
