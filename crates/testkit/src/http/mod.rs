//! What the fake servers have in common: a listener, requests and answers as plain values, faults by script, a clock.

// Only tests link this crate, and there a failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod clock;
mod delivery;
mod faults;
mod message;
mod outbox;
mod random;
mod server;
mod shared;

pub use delivery::Delivery;
pub use faults::Fault;

pub(crate) use clock::{Clock, wire};
pub(crate) use faults::{Faults, meet};
pub(crate) use message::{Ask, Cut, Reply, decode, query};
pub(crate) use outbox::{Outbox, Posts, answer, deliver};
pub(crate) use random::{random, uuid};
pub(crate) use server::serve;
pub(crate) use shared::{Shared, Site, wait_for};
