//! A real Gitea, which `make gitea` built, on loopback: with its own directory, its own SQLite, an administrator, and all
//! that a test needs to be its user. It ends with the test. A Forgejo that is given runs the same way.
//!
//! ```text
//! program   where the built one is, and what a test does where there is none
//! inside    a thread of the network namespace that the server is in: whoever asks, is asked from there
//! settings  app.ini
//! server    the process: start, end, log
//! api       REST and the runner protocol, as they are
//! usage     organizations, repositories, pushes, jobs, runners, hooks, in words
//! ```

// Only tests link this crate, and there a failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod api;
mod inside;
mod program;
mod server;
mod settings;
mod usage;

pub use api::Answer;
pub use program::{Program, available, forgejo};
pub use server::{Place, RealGitea};
pub use usage::{Registered, wait_for};
