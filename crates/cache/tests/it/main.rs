//! The cache as its clients see it, and as a host's disk does.

// Here a failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bad_input;
mod common;
mod full;
mod isolation;
mod killed;
mod room;
mod toolkit;
mod v1;
mod v2;
