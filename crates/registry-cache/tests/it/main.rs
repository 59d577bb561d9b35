//! What the programs are told, as files, and what the real programs say to them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod golden;
mod programs;
