//! Volumes: what is kept is found, whole, by its owner alone, within its limits.

// Here a failed setup is a failed test.
#![allow(clippy::unwrap_used)]

mod common;
mod keep;
mod killed;
mod limits;
mod model;
