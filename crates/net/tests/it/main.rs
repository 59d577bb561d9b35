//! Real bridges, taps and rules, each test in a network namespace of its own.

// A failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bridge;
mod common;
mod conntrack;
mod frames;
mod ipv6;
mod life;
mod limits;
mod reach;
mod rules;
mod text;
