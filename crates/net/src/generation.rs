//! Whether anybody changed anything in nftables: the kernel counts the transactions of a network namespace. With a
//! thousand machines a listing of the rules costs a second of processor time, this number some microseconds.

use std::io;

use crate::netfilter::{Channel, value};
use crate::nft::{NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN, NFT_MSG_NEWGEN};

const NFTA_GEN_ID: u16 = 1;

/// The number of the latest transaction.
pub(crate) fn latest(channel: &Channel) -> io::Result<u32> {
    let of = |message| NFNL_SUBSYS_NFTABLES << 8 | message;
    let attributes = channel.get(of(NFT_MSG_GETGEN), of(NFT_MSG_NEWGEN))?;
    let number = value(&attributes, NFTA_GEN_ID).and_then(|value| value.try_into().ok());
    number.map(u32::from_be_bytes).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}
