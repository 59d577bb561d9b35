//! Machines: one task per microVM takes it from a journal row to a running job and back to nothing.
//!
//! ```text
//!            create            boot             serve             hold         teardown
//!  row ─▶ image scratch ─▶ VMM, agent says ─▶ forge binds ─▶ a failed ─▶ power off, then every
//!         net spawn        hello, identity    work, output   one may     step undone in reverse;
//!            │                 ▲    │         end told       stay        row gone
//!            │                 │    │            │              ▲           ▲
//!            └── failure ──────┼────┴── failure ─┴──────────────┴───────────┘
//!                              │
//!                 recover: a machine that an earlier server left goes on where its row says
//! ```
//!
//! A VMM process either boots, or is restored from a template of its pool and shape (`templates`); from the agent's first
//! word on the two are one.
//!
//! Invariants:
//! - `Record::step` is durable before the effect that it names begins, and teardown undoes every
//!   step whether or not its effect was reached: a crash between any two steps leaves only what
//!   [`Machinery::recover`] finds by the row, or as a stray by its name.
//! - Only the machine's own task changes its row, but for what an operator wishes of it (`wish`). Others ask (retire) and look (views).
//! - A machine with work is never retired; the forge's own word decides the race between the two.
//! - The loss of a job is reported only once its VMM is dead: no job runs in two machines.
//! - Once a job's end is known, nothing changes it, and its row stays until the forge has heard it.
//! - Nothing depends on `Drop`: a task that is aborted leaves a row behind, and the row is enough.
//!   That is also how a server hands over: it ends its tasks wherever they are.

mod artifacts;
mod asks;
mod autopsy;
mod boot;
mod console;
mod create;
mod end;
mod guest;
mod hold;
mod idle;
mod life;
mod machinery;
mod made;
mod metadata;
mod parts;
mod points;
mod program;
mod record;
mod recover;
mod release;
mod report;
mod resources;
mod restore;
mod secret;
mod serve;
mod service_logs;
mod shutdown;
mod sticky;
mod sticky_disks;
mod teardown;
mod templates;
mod undo;
mod views;
mod wish;
mod work;

pub use console::{ConsoleError, ConsolePiece, console_from, console_tail};
pub use fireactions_vmm::Usage;
pub use machinery::Machinery;
pub use parts::{Parts, Settings};
pub use program::environment;
pub use recover::Recovered;
pub use service_logs::service_log;
pub use wish::HoldError;
