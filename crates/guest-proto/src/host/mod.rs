//! The host's side. One task per machine keeps a connection to the guest's agent, judges what comes and holds a
//! bounded part of it until somebody takes it.

mod beat;
mod connection;
mod endpoint;
mod error;
mod exec;
mod files;
mod flow;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;
mod greeting;
mod inbound;
mod job;
mod judge;
mod link;
mod proof;
mod rate;
mod run_state;
mod state;
mod stream;

pub use endpoint::Endpoint;
pub use error::LinkError;
pub use exec::{Exec, ExecControl, ExecOutput, ExecStdin};
pub use job::JobEvent;
pub use link::{Link, LinkOptions};
