//! The kernel's netfilter by netlink (nfnetlink): what its messages look like, and a socket that asks and listens to the
//! answers. `nft/` and `conntrack.rs` say what is asked.
//!
//! We speak it ourselves because a start of the program `nft` costs ten times what the change does, twice for each
//! machine. Of the libraries there are, one is GPL, one binds a C library and has no maps, one starts `nft` itself.

mod message;
mod socket;
mod uapi;

pub(crate) use message::{Attributes, Message, NFGENMSG, attributes, messages, push, text, value};
pub(crate) use socket::{Channel, Refusal};
pub(crate) use uapi::{
    NFPROTO_BRIDGE, NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE,
    NLM_F_REQUEST,
};
