//! The client against what real servers said and were asked, and against odd servers.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod access;
mod answers;
mod common;
mod faults;
mod odd;
mod old;
mod queue;
mod recordings;
mod requests;
mod whole;
