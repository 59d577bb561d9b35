//! What pools decide, and the loop around it.

// A failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod controller;
mod decisions;
mod placing;
mod properties;
mod sharing;
mod world;
