//! The guest's side: threads and a poll loop, no runtime. One thread of its own does all reading and writing of the
//! channel; the agent's threads meet it at a mutex.
//!
//! The job, its unacknowledged output and its result live here across sessions; the agent writes output and reports
//! the end as if the host were always there.

mod channel;
mod dispatch;
mod flow;
mod io;
mod job;
mod notice;
mod output;
mod session;
mod state;
mod stream;

pub use channel::Channel;
pub use output::JobOutput;
pub use session::{Event, Exec, GetFile, PutFile, Session};
pub use state::About;
pub use stream::{Done, ExecControl, ExecSignal, Incoming, Outgoing};
