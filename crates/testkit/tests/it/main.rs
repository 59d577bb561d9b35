//! What of the kit is not the fake GitHub.

// A failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod real_gitea;
