//! What tests share: fakes for what cannot run in a test, and inputs that more than one crate needs.

pub mod beside;
pub mod busybox;
pub mod certificate;
pub mod cgroups;
pub mod corpus;
pub mod debian;
pub mod forge;
pub mod gitea;
pub mod github;
pub mod guest;
mod http;
pub mod job_runner;
pub mod json;
pub mod kept;
mod lines;
pub mod machines;
pub mod no_timer;
pub mod pools;
pub mod program;
pub mod qmp;
pub mod reach;
pub mod real_gitea;
pub mod recordings;
pub mod skip;
pub mod spec;
pub mod sshd;
pub mod standin;
