//! What holds wherever entries are, tried in files.

const ON: crate::common::On = crate::common::On::Files;

#[path = "../contract/mod.rs"]
mod contract;
