//! End to end: a real server, real microVMs under emulation, real taps and rules in a network namespace, driven by
//! the command line.

// A failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod jobs;
mod world;
