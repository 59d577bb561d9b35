//! The client against a GitHub in the process, which holds both sides to the published description, and against odd
//! servers.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod apps;
mod common;
mod jobs;
mod limits;
mod odd;
mod runners;
mod scale_sets;
mod secrets;
mod shapes;
mod tls;
mod trouble;
