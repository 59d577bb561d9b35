//! The fakes over real HTTP: what they answer, what they do to clients, and their runners.

// A failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod gitea;
mod github;
mod real_gitea;
