//! Volumes: what is kept is found, whole, by its owner alone, within its limits.

mod common;
mod keep;
mod killed;
mod limits;
mod model;
