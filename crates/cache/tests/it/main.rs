//! The cache as its clients see it, and as a host's disk does.

// Here a failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]
// What holds wherever entries are is tried in both places.
#![allow(clippy::duplicate_mod)]

mod artifact;
mod bucket;
mod common;
mod full;
mod in_a_bucket;
mod in_files;
mod killed;
mod restarted;
mod toolkit;
