//! Control groups of machines under test.

use std::sync::atomic::{AtomicU32, Ordering};

pub use fireactions_leftovers::{below, named, processes};

/// A name for the cgroup that a server under test has its machines in: no other server's, and has the name of the
/// run in it, by which `scripts/test-clean` finds what a killed run left.
pub fn parent(of: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::SeqCst);
    format!("fa-{of}-{}-{number}-{}", std::process::id(), run())
}

/// The run of the suite that this test is a part of.
pub fn run() -> String {
    std::env::var("FIREACTIONS_TEST_RUN").unwrap_or_else(|_| "fat".to_owned())
}
