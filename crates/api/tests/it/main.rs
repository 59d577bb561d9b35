//! The API over real sockets: router, typed client, metrics.

// A failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bounds;
mod common;
mod conformance;
mod document;
mod exec;
mod follow;
mod insight;
mod listen;
mod live;
mod metrics;
mod oidc;
mod page;
mod pause;
mod prometheus;
mod refusals;
mod roles;
mod round_trip;
mod session;
