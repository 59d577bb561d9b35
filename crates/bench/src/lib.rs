//! What `make demo`, `make bench` and `make soak` share: a real server in this process's network namespace, and a look
//! at everything that a server could leave behind.

pub mod leaks;
pub mod programs;
#[cfg(feature = "measure")]
pub mod report;
pub mod server;
#[cfg(feature = "measure")]
pub mod usage;
mod weight;
