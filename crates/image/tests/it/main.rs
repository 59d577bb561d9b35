//! From registries, layouts and archives to root images and frozen machines.

// A failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cases;
mod common;
mod disk;
mod flatten;
mod hostile;
mod local;
mod model;
mod registry;
mod store;
mod templates;
