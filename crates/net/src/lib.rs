//! The machines' network: one bridge, a tap per machine, NAT, and one owned nftables table per family.

mod config;
mod error;
mod network;
mod tap;

pub use config::NetConfig;
pub use error::NetError;
pub use network::{Network, Port};
pub use tap::open_tap;
