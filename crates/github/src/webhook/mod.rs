//! Webhook deliveries: whether GitHub sent them, whether they came before, and what they say.

mod event;
mod signature;

pub use event::{Event, Malformed, WorkflowJobEvent, parse};
pub use signature::{Forged, verify};

/// Most bytes of a delivery that are read. GitHub cuts none below 25 MB, but an event of a job is some tens of
/// kilobytes, and whoever cannot sign must not make the server hold more.
pub const MAX_BODY: usize = 1 << 20;
