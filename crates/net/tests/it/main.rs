//! Real bridges, taps and rules, each test in a network namespace of its own.

// A failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
mod frames;
mod life;
mod limits;
mod reach;
