//! The cache of registries, as texts: what the caching program is told, what guests are, and what a firewall is.
//!
//! ```text
//!  guest ── registry-mirrors, hosts.toml … ──▶ gateway:port ── the program ──▶ the registry
//! ```
//!
//! Nothing here opens a file or a socket.

mod asked;
mod cache;
mod docker_registry;
mod firewall;
mod guest;
mod login;
mod squid;
mod status;
mod trust;
mod zot;

pub use asked::Asked;
pub use cache::{Cache, Mirror, Program, Upstream};
pub use docker_registry::{Listen, docker_registry, docker_registry_alone};
pub use firewall::nft;
pub use guest::drop_ins;
pub use login::{Login, LoginError};
pub use squid::{Bump, INSIDE, Proxy, SquidFiles, squid};
pub use status::{RegistryStatus, Status};
pub use trust::{AUTHORITY, environment, trusted};
pub use zot::{zot, zot_logins};
