//! The kernel's netfilter by netlink (nfnetlink): what its messages look like, and a socket that asks and listens to the
//! answers. `nft/` and `conntrack.rs` say what is asked.
//!
//! We speak it ourselves because a start of the program `nft` costs ten times what the change does, twice for each
//! machine. Of the libraries there are, one is GPL, one binds a C library and has no maps, one starts `nft` itself.

mod message;
mod socket;

pub(crate) use message::{Attributes, Message, NFGENMSG, attributes, messages, push, text, value};
pub(crate) use socket::{Channel, Refusal};

// linux/netlink.h
pub(crate) const NLM_F_REQUEST: u16 = 1;
pub(crate) const NLM_F_ACK: u16 = 4;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
pub(crate) const NLM_F_APPEND: u16 = 0x800;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_DUMP_INTR: u16 = 0x10;
// linux/netfilter/nfnetlink.h
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;
/// linux/netfilter.h
pub(crate) const NFPROTO_INET: u8 = 1;
pub(crate) const NFPROTO_IPV4: u8 = 2;
pub(crate) const NFPROTO_BRIDGE: u8 = 7;
