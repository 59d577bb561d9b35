//! Saying that a test did not run.

use std::io::Write;

/// Says that a test does not run here, and what would make it run. Written past the test harness, which keeps what
/// passing tests print to itself.
pub fn say(test: &str, why: &str) {
    // A closed standard error is no failure of the test.
    let _ = writeln!(std::io::stderr(), "\nSKIPPED {test}: {why}");
}
