//! The agent's channel, both ends. `memory` is a binary of its own, for it measures its process.

// A failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
mod decoder;
mod hostile;
mod impostor;
mod session;
