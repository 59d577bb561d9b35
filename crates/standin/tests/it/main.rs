//! The stand-ins for QEMU, Firecracker and its jailer, by their own interfaces.

// A failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod driver;
mod firecracker;
