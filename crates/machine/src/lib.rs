//! Machines: one task per microVM takes it from a journal row to a running job and back to nothing.
//!
//! ```text
//!            create            boot             serve                    teardown
//!  row ─▶ image scratch ─▶ VMM, agent says ─▶ forge binds work ─▶ power off, then every step
//!         net spawn        hello, identity    run, output, end    undone in reverse; row gone
//!            │                 │                  │                    ▲
//!            └── failure ──────┴──── failure ─────┴────────────────────┘
//! ```
//!
//! Invariants:
//! - `Record::step` is durable before the effect that it names begins, and teardown undoes every
//!   step whether or not its effect was reached: a crash between any two steps leaves only what
//!   [`Machinery::recover`] finds by the row.
//! - Only the machine's own task changes its row. Others ask (retire) and look (views).
//! - A machine with work is never retired; the forge's own word decides the race between the two.
//! - Nothing depends on `Drop`: a task that is aborted leaves a row behind, and the row is enough.

mod autopsy;
mod boot;
mod console;
mod create;
mod end;
mod hold;
mod life;
mod machinery;
mod parts;
mod points;
mod program;
mod record;
mod recover;
mod serve;
mod shutdown;
mod teardown;
mod work;

pub use console::{ConsoleError, console_tail};
pub use machinery::Machinery;
pub use parts::{Parts, Settings};
pub use program::environment;
pub use recover::Recovered;
