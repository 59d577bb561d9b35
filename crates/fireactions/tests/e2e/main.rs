//! End to end: a real server, real microVMs under emulation, real taps and rules in a network namespace, driven by
//! the command line.

mod jobs;
mod world;
