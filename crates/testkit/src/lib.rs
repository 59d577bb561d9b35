//! What tests share: fakes for what cannot run in a test, and inputs that more than one crate needs.

pub mod busybox;
pub mod cgroups;
pub mod corpus;
pub mod forge;
pub mod github;
pub mod guest;
pub mod kept;
pub mod machines;
pub mod program;
pub mod qmp;
pub mod reach;
pub mod skip;
pub mod spec;
pub mod standin;
