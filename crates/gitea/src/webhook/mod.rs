//! Webhook deliveries: whether the server sent them, and what they say. Forgejo delivers none about jobs.

mod event;
mod form;
mod signature;

pub use event::{Event, Malformed, WorkflowJobEvent, parse};
pub use fireactions_http::webhook::{Deliveries, Forged, MAX_BODY};
pub use signature::verify;
