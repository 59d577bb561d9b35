//! Hearing that a chain is gone.
//!
//! A transaction that removes something takes effect at once, but the kernel keeps its sender for ten to twenty
//! milliseconds more, until the packets that may still look at the old rules are through (`nft_rcv_nl_event`,
//! net/netfilter/nf_tables_api.c, flushes the destruction when the sender closes its socket). `nft` ends only after
//! that. The kernel tells every listener what a transaction removed before it begins to wait.

use std::io;

use rtnetlink::packet_core::{NetlinkBuffer, NlasIterator};
use rtnetlink::sys::constants::NETLINK_NETFILTER;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};

// linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h, linux/netfilter.h
const NFNLGRP_NFTABLES: u32 = 7;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFT_MSG_DELCHAIN: u16 = 5;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFPROTO_INET: u8 = 1;
/// `struct nfgenmsg`: family, version, resource id.
const NFGENMSG: usize = 4;

/// Removals from now on, in the network namespace of the thread that listens.
pub(crate) struct Removals(TokioSocket);

impl Removals {
    pub(crate) fn listen() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
        socket.socket_mut().bind(&SocketAddr::new(0, 1 << (NFNLGRP_NFTABLES - 1)))?;
        Ok(Self(socket))
    }

    /// Returns when the chain of the `inet` table has been removed; never when notices are lost, so that
    /// something else must end the wait then.
    pub(crate) async fn of(&self, table: &str, chain: &str) {
        while let Ok((datagram, _)) = self.0.recv_from_full().await {
            if messages(&datagram).any(|message| removes(&message, table, chain)) {
                return;
            }
        }
        std::future::pending::<()>().await;
    }
}

/// The messages of a datagram, up to the first that is none.
fn messages(datagram: &[u8]) -> impl Iterator<Item = NetlinkBuffer<&[u8]>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let message = NetlinkBuffer::new_checked(rest).ok()?;
        let length = usize::try_from(message.length()).ok()?.next_multiple_of(4);
        rest = rest.get(length..).unwrap_or_default();
        Some(message)
    })
}

fn removes(message: &NetlinkBuffer<&[u8]>, table: &str, chain: &str) -> bool {
    if message.message_type() != NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELCHAIN {
        return false;
    }
    let Some((header, attributes)) = message.payload().split_at_checked(NFGENMSG) else { return false };
    let holds = |kind, text: &str| {
        NlasIterator::new(attributes)
            .map_while(Result::ok)
            .any(|nla| nla.kind() == kind && nla.value().strip_suffix(&[0]) == Some(text.as_bytes()))
    };
    header[0] == NFPROTO_INET && holds(NFTA_CHAIN_TABLE, table) && holds(NFTA_CHAIN_NAME, chain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, family: u8, table: &str, chain: &str) -> Vec<u8> {
        let mut body = vec![family, 0, 0, 0];
        for (kind, text) in [(NFTA_CHAIN_TABLE, table), (NFTA_CHAIN_NAME, chain)] {
            let length = u16::try_from(4 + text.len() + 1).unwrap();
            body.extend([length.to_ne_bytes(), kind.to_ne_bytes()].concat());
            body.extend(text.as_bytes());
            body.push(0);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let length = u32::try_from(16 + body.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend((NFNL_SUBSYS_NFTABLES << 8 | kind).to_ne_bytes());
        bytes.resize(16, 0);
        bytes.extend(body);
        bytes
    }

    fn hears(datagram: &[u8]) -> bool {
        messages(datagram).any(|message| removes(&message, "fireactions", "fam1"))
    }

    #[test]
    fn only_the_chain_that_is_waited_for_counts() {
        let wanted = message(NFT_MSG_DELCHAIN, NFPROTO_INET, "fireactions", "fam1");
        let others = [
            message(NFT_MSG_DELCHAIN - 2, NFPROTO_INET, "fireactions", "fam1"),
            message(NFT_MSG_DELCHAIN, 7, "fireactions", "fam1"),
            message(NFT_MSG_DELCHAIN, NFPROTO_INET, "other", "fam1"),
            message(NFT_MSG_DELCHAIN, NFPROTO_INET, "fireactions", "fam12"),
        ]
        .concat();
        assert!(!hears(&others));
        assert!(hears(&[others, wanted.clone()].concat()));
        for length in 0..wanted.len() - 4 {
            assert!(!hears(&wanted[..length]));
        }
    }
}
