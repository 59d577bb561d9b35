//! Webhook deliveries: whether GitHub sent them, whether they came before, and what they say.

mod event;
mod signature;

pub use event::{Event, Malformed, WorkflowJobEvent, parse};
pub use fireactions_http::webhook::{Deliveries, Forged, MAX_BODY};
pub use signature::verify;
