//! Rows, journal, logs and files: what is kept, and what survives.

// A failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
mod damage;
mod directory;
mod full;
mod jobs;
mod killed;
mod logs;
mod machines;
mod migration;
mod power;
mod runners;
mod synced;
