//! One server takes over from another: `fireactions server --replace`.
//!
//! ```text
//!  new                                            old
//!  reads and checks everything, prepares
//!  connects to STATE/handover.sock
//!   ── ask {protocol, version, state} ──▶          same user, same state, same protocol?
//!   ◀── offer {sockets} or refused {why} ──        goes on serving
//!  binds the sockets that it wants and the old one has not
//!   ── take ──▶                                    machines detached, listeners paused, store closed
//!   ◀── given {sockets, notify} + descriptors ──   serves nobody; connections wait in the backlog
//!  store, machines, API
//!   ── ready ──▶                                   tells the service manager, exits
//!   ◀── end of the connection ──
//! ```
//!
//! Until `ready` the old server keeps descriptors of everything that it gave. If the new one ends, says nothing
//! within its time, or the old one is told to stop, the old one makes sure that the new one is dead and starts
//! again, in the same process, with the same configuration in memory and the same sockets: there is never no server
//! that could be reached, and never two on one state.
//!
//! The namespace claim travels as a descriptor, so no third server can have it in between. The state directory's
//! lock is free for a moment: a third server that takes it there fails at the claim, and the new one tries again.

mod ask;
mod door;
mod link;
mod message;

use std::time::Duration;

pub(super) use ask::{Predecessor, Taken, ask};
pub(super) use door::{Given, Request, answer};

/// Changes when peers would misunderstand each other. A peer of another protocol is refused.
const PROTOCOL: u32 = 1;
/// Until a message that needs no work must be there.
const ANSWER: Duration = Duration::from_secs(10);
/// Until the old server must have detached: longer than all its own deadlines together.
const LET_GO: Duration = Duration::from_secs(90);
/// Until the new server must serve.
const READY: Duration = Duration::from_secs(120);

/// The socket's file in the state directory.
pub(super) const SOCKET: &str = "handover.sock";

/// A place where tests kill one of the two servers.
macro_rules! fail_point {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        fail::fail_point!($name);
    };
}
pub(super) use fail_point;
