//! Webhook deliveries: whether the forge sent them, and whether they came before.

mod deliveries;
mod signature;

pub use deliveries::Deliveries;
pub use signature::{Forged, digest, verify};

/// Most bytes of a delivery that are read. Forges cut none below 25 MB, but an event of a job is some tens of kilobytes, and
/// whoever cannot sign must not make the server hold more.
pub const MAX_BODY: usize = 1 << 20;
