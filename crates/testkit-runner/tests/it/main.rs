//! The program from outside: exit codes, lines, and what a real Gitea makes of it.

// A failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod program;
mod real_forgejo;
mod real_gitea;
mod setup;
