//! The HTTP API: what it can ask of an [`Engine`], its router, its typed [`Client`], and the metrics.
//!
//! ```text
//! types/    what goes over the wire, beside the types of the model
//! engine    the trait that the server's binary implements
//! server/   one file per resource: routes of /api/v1
//! client/   the same files, seen from the other side
//! metrics/  Prometheus, fed from the event stream and the engine's views
//! ```

pub mod channel;
pub mod client;
pub mod engine;
pub mod fault;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;
mod hosts;
pub mod listen;
pub mod metrics;
pub mod server;
pub mod types;

pub use client::{Client, ClientError, ClientStream, LiveEvent, LogEvent, RemoteExec, Target};
pub use engine::{Download, Engine, ExecSession, Upload};
pub use fault::{Code, ErrorBody, Fault};
pub use hosts::{FleetCounts, HostAnswer, HostEntry, HostRequest, Hosts};
pub use server::auth::{Auth, Key, Oidc, Peer, Token};
pub use server::{Api, HostDoor, Limits};
pub use types::*;
