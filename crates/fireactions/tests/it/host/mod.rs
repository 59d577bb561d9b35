//! `fireactions host`: a registry as it is on disk, and deployments to a real SSH server; only nixos-anywhere has a stand-in, which
//! writes down what it was told.

mod bad_input;
mod deploy;
mod fleet;
mod interrupted;
mod registry;
mod remote;
