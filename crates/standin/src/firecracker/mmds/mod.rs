//! The guest's metadata, and the service that it reads it from (MMDS), as Firecracker has it. What is asked, allowed and
//! answered was read in Firecracker 1.17's `src/vmm/src/mmds` and `dumbo`, and in its HTTP server, micro-http.
//!
//! ```text
//! QEMU's card ⇄ card.rs ⇄ tap        every frame, but those to the service's address
//!                 ⇅
//!              stack.rs ⇄ answer.rs ⇄ token.rs, store.rs ← the API
//! ```

mod answer;
mod card;
mod stack;
mod store;
mod token;

use std::net::Ipv4Addr;

pub(crate) use answer::Service;
pub(crate) use card::Card;
pub(crate) use stack::Stack;
pub(crate) use store::{Refused, Shared, Store};

/// Where the service is, unless it is configured.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
