//! The NixOS half: what is written in Nix is evaluated by Nix, and what comes out is given to the programs that it is for.

// A failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cache;
mod ci;
mod config;
mod fleet;
mod hosts;
mod images;
mod machines;
mod mistakes;
mod modules;
mod nix;
mod page;
mod queue;
mod scripts;
mod tree;
mod unit;
