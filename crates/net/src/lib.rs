//! The machines' network: one bridge, a persistent tap per machine, addresses by slot number, NAT, and one owned
//! nftables table per family. [`rules`](self) say what a guest may reach: the public internet by IPv4, listed
//! ports of the host, the configured DNS servers, what its pool allows, and nothing else; no IPv6.
//!
//! Everything works in the network namespace of the calling thread and can be repeated; the kernel's state is
//! the truth, and what a machine owns is found again by its tap's name, which is made from its id.

mod config;
mod error;
mod inner;
mod link;
mod network;
mod nft;
mod rules;
mod sysctl;
mod tap;

pub use config::NetConfig;
pub use error::NetError;
pub use network::{Network, Port};
pub use tap::open_tap;
