//! The stand-in Firecracker and jailer, by their own interfaces.

mod api;
mod emulated;
