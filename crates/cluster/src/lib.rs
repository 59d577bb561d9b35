//! Hosts that belong together, by NATS JetStream. Nothing of consensus or replication is here: JetStream's key-value buckets have it.
//!
//! ```text
//!  fireactions-CLUSTER          protocol ─▶ the version that all hosts speak
//!  fireactions-CLUSTER-hosts    HOST ─▶ who it is and what it has; gone when it was not told again for HOST_TTL
//!  fireactions-CLUSTER-leases   NAME ─▶ who holds it; gone when it was not renewed for LEASE_TTL
//!  fireactions-CLUSTER-shares   FORGE.HOST ─▶ what the host that listens to the forge tells this one
//!
//!  fireactions.CLUSTER.ask.HOST      a question to one host, and its answer; kept by nobody
//!  fireactions.CLUSTER.heard.TOPIC   what one host has heard, for all others that are there
//! ```
//!
//! What it promises:
//! - Each write goes by the revision that its writer saw last. So of two that take one name or one lease, one finds out before it has it.
//! - Who holds a lease knows by its own clock, which counts a suspended host's time too, until when that is true, and lets go before
//!   anybody else can have it. Its [`Fence`] is larger than that of each holder before it, whatever became of the bucket meanwhile.
//! - Nothing waits for ever: each request has a deadline, each retry a pause that grows and differs from host to host.
//!
//! No other crate knows NATS.

mod ask;
mod bucket;
mod buckets;
mod clock;
mod creds;
mod lease;
mod link;
mod member;
mod membership;
mod roster;
mod settings;
mod shares;
mod spread;
mod state;
mod subscription;
mod trouble;

pub use ask::{answer, ask};
pub use buckets::{Buckets, HOST_TTL, PROTOCOL};
pub use clock::Moment;
pub use lease::{Fence, Holder, Lease, LeaseName, LeaseTiming};
pub use link::Link;
pub use member::{Identity, Load, Member, PoolLoad};
pub use membership::{Ends, Membership, Standing};
pub use roster::Roster;
pub use settings::{CredsSource, Settings};
pub use shares::{Desk, GivenTo, Revised, follow};
pub use spread::{Heard, hear, spread};
pub use state::{ClusterState, Leader, look};
pub use trouble::Trouble;
