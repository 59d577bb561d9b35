//! The driver for Firecracker.

pub mod api;
