//! Traces of jobs, for OpenTelemetry: what has ended becomes spans, and a collector is told of them by OTLP.
//!
//! ```text
//!  events ─▶ follow ──▶ trace (pure) ──▶ exporter: a bounded queue ──▶ collector: one request ──▶ otlp, grpc
//! ```
//!
//! Nothing waits for it: what finds no room is dropped and counted.

mod answer;
mod attributes;
mod collector;
mod counts;
mod exporter;
mod follow;
mod grpc;
mod mark;
mod otlp;
mod trace;

pub use attributes::{Attributes, Value};
pub use collector::{Protocol, Settings, SettingsError};
pub use counts::Counts;
pub use exporter::{Exporter, Patience};
pub use follow::{Follower, Jobs};
pub use trace::{Link, Span, Status, Trace};
