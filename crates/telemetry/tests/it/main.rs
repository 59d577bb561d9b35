//! Traces on their way to a collector: what the published types of OTLP read, by both protocols, and what happens when it is
//! not there, slow, full, or does not want them.

#![allow(clippy::unwrap_used, clippy::wildcard_imports, unreachable_pub, dead_code)]

mod collector;
mod common;
mod export;
mod follow;
mod real;
