//! Whether anybody changed anything in nftables: the kernel counts the transactions of a network namespace. With a
//! thousand machines a listing of the rules costs a second of processor time, this number some microseconds.

use std::io;

use rtnetlink::packet_core::{NetlinkBuffer, NlasIterator};
use rtnetlink::sys::constants::NETLINK_NETFILTER;
use rtnetlink::sys::{Socket, SocketAddr};

// linux/netlink.h, linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h
const NLM_F_REQUEST: u16 = 1;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFT_MSG_NEWGEN: u16 = 15;
const NFT_MSG_GETGEN: u16 = 16;
const NFTA_GEN_ID: u16 = 1;
/// `struct nlmsghdr` and `struct nfgenmsg`.
const HEADERS: u32 = 20;

/// The number of the latest transaction, in the network namespace of the calling thread. Does not wait: the kernel
/// answers before the request returns.
pub(crate) fn latest() -> io::Result<u32> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.set_non_blocking(true)?;
    socket.send(&request(), 0)?;
    let (answer, _) = socket.recv_from_full()?;
    read(&answer).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

fn request() -> [u8; HEADERS as usize] {
    let mut bytes = [0; HEADERS as usize];
    bytes[..4].copy_from_slice(&HEADERS.to_ne_bytes());
    bytes[4..6].copy_from_slice(&(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN).to_ne_bytes());
    bytes[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    bytes
}

fn read(answer: &[u8]) -> Option<u32> {
    let message = NetlinkBuffer::new_checked(answer).ok()?;
    if message.message_type() != NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN {
        return None;
    }
    let attributes = message.payload().get(4..)?;
    let mut attributes = NlasIterator::new(attributes).map_while(Result::ok);
    let id = attributes.find(|attribute| attribute.kind() == NFTA_GEN_ID)?;
    id.value().try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_is_read() {
        // As a 6.x kernel sends it: generation 7, then the process that made it.
        let mut answer = vec![0; HEADERS as usize];
        answer[4..6].copy_from_slice(&(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN).to_ne_bytes());
        for (kind, value) in [(NFTA_GEN_ID, 7_u32), (2, 4711)] {
            answer.extend(8_u16.to_ne_bytes());
            answer.extend(kind.to_ne_bytes());
            answer.extend(value.to_be_bytes());
        }
        let length = u32::try_from(answer.len()).unwrap();
        answer[..4].copy_from_slice(&length.to_ne_bytes());
        assert_eq!(read(&answer), Some(7));
        for length in 0..HEADERS as usize + 8 {
            assert_eq!(read(&answer[..length]), None);
        }
        let mut refusal = answer;
        refusal[4..6].copy_from_slice(&2_u16.to_ne_bytes());
        assert_eq!(read(&refusal), None);
    }
}
