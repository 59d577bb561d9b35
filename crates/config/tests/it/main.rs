//! Whole configuration files: what is read from them, and how mistakes are explained.

// A failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod files;
mod migrate;
mod mistakes;
mod published;
mod published_table;
mod registry_cache;
mod schema;
