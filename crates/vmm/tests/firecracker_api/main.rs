//! The client of Firecracker's API: against odd servers and a real Firecracker.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod odd;
mod real;
