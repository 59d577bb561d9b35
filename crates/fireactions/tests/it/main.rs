//! The program without a guest: its commands, and the life of machines and jobs as a state machine.

// A failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod custom_kernel;
mod doctor;
mod github_check;
mod host;
mod lifecycle;
mod migrate;
mod state;
