//! The machines' network: a server's bridge, a persistent tap per machine, addresses by slot number, NAT, and one owned
//! nftables table per family. A guest reaches the public internet by IPv4, the configured DNS servers, listed
//! ports of the host, what its pool allows, and nothing else; IPv6 if it is configured. `rules.rs` says how.
//!
//! Everything works in the network namespace of the calling thread and can be repeated; the kernel's state is
//! the truth, and what a machine owns is found again by its tap's name, which is made from its id.

mod changes;
mod config;
mod conntrack;
mod error;
mod generation;
mod inner;
mod ipv6;
mod link;
mod lookup;
mod netfilter;
mod network;
mod nft;
mod on_link;
mod port;
mod rules;
mod sysctl;
mod tap;
mod unlink;
mod uplink;

pub use config::NetConfig;
pub use conntrack::can_forget;
pub use error::NetError;
pub use ipv6::Ipv6Config;
pub use lookup::has_tap;
pub use network::Network;
pub use port::Port;
pub use rules::is_reserved;
