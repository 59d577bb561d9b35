//! What host and guest say to each other over one byte channel: control messages and streams, in frames.
//!
//! ```text
//!  host::Link (tokio)                                   guest::Session (threads)
//!      | 00 [Hello, fresh nonce] 00                            |
//!      |------------------------------------------------------>|  ends every stream of an earlier session
//!      |  (up to 1 MiB of an earlier session: skipped)         |
//!      |<------------------------- 00 [Hello, the same nonce] 00|  says what it is doing
//!      |<-- job output from the first unacknowledged byte -----|
//!      |--- acknowledgements (absolute offsets) -------------->|
//!      |<-- Exited, after the last byte -----------------------|
//! ```
//!
//! Invariants:
//! - From the identity on, a session is with the agent that got it: every later hello proves that with the machine's
//!   secret. Whoever else in the guest reaches the host is not believed and not told anything.
//! - The job, its unacknowledged output and its result outlive sessions; file and exec streams do not.
//! - The host judges every byte: a guest that breaks a rule ends its own link and nothing else.
//! - Both sides hold a bounded number of bytes, whatever the other does.

#[cfg(feature = "host")]
pub mod host;

mod cobs;
mod decoder;
mod drop_in;
mod frame;
pub mod guest;
pub mod limits;
mod message;
mod secret;
mod service;
mod tail;
mod text;

pub use decoder::Decoder;
pub use drop_in::{DropIn, Form, Meets, Reload, Said};
pub use frame::{Frame, FrameError, Kind};
pub use message::*;
pub use secret::AgentSecret;
pub use service::{Ready, Service};
