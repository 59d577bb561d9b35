//! The forges: the built-in queue, and GitHub against a GitHub that is held to the published description.

// A failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
mod durability;
mod follow;
mod gitea;
mod github;
mod hundred;
mod invalid;
mod model;
mod queue;
