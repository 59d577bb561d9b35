//! What the demo, the bench and soak share: a real server in this process's network namespace, and a look at everything
//! that a server could leave behind.

#![allow(dead_code, reason = "each of the three uses its part")]

pub(crate) mod leaks;
pub(crate) mod programs;
pub(crate) mod server;
pub(crate) mod usage;
