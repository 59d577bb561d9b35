//! The driver for Firecracker.
