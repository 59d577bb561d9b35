//! The stand-in Firecracker and jailer, by their own interfaces.

// A failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod api;
mod emulated;
