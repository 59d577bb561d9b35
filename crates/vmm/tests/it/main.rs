//! The drivers, with real programs where they can run.

// A failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod firecracker;
mod firecracker_api;
mod qemu;
