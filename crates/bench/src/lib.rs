//! What `make demo`, `make bench` and `make soak` share: a real server in this process's network namespace, and a look
//! at everything that a server could leave behind.

// One file for this and for the tests; the testkit itself would bring its fakes, which the demo's user waits for.
#[path = "../../testkit/src/cgroups.rs"]
pub mod cgroups;
pub mod leaks;
pub mod programs;
#[cfg(feature = "measure")]
pub mod report;
pub mod server;
#[cfg(feature = "measure")]
pub mod usage;
