//! Takes the place of a program that makes microVMs, so that a real server can be tested without one. Which program
//! it is depends on the name by which it is called:
//!
//! ```text
//! …firecracker…    Firecracker; its guest is played, or emulated by a real QEMU      firecracker/
//! …jailer…         Firecracker's jailer, without the change of root directory        jailer/
//! anything else    qemu-system-x86_64; its guest is played                           qemu.rs
//! ```
//!
//! A played guest costs next to nothing: a thousand of them run at once. It speaks the agent's real protocol, and its
//! jobs are not run but played (`script.rs`):
//!
//! ```text
//! guest thread  the agent: events of the session, the one job        play.rs, job.rs
//! host-link     reads and writes the agent's socket                  guest_proto::guest
//! ```
//!
//! `kernel_args` of a pool may hold faults, see `faults.rs`. A played guest has no memory, no disk and no network; the
//! tap stays open for as long as it lives.

mod agent;
mod arguments;
mod console;
mod faults;
mod firecracker;
mod jailer;
mod job;
mod play;
mod qemu;
mod qmp;
mod script;

use std::process::ExitCode;

/// How the program calls itself to start a child that dies with it.
const LAUNCHER: &str = "launch";

fn main() -> ExitCode {
    let mut given = std::env::args();
    let called = given.next().unwrap_or_default();
    let name = called.rsplit('/').next().unwrap_or_default();
    let given: Vec<String> = given.collect();
    if name == LAUNCHER {
        return failed(&firecracker::launch(&given));
    }
    if name.contains("firecracker") {
        return firecracker::main(name, &given);
    }
    if name.contains("jailer") {
        return jailer::main(&given);
    }
    if given.iter().any(|argument| argument == "--version") {
        println!(
            "QEMU emulator version 7.2.0 (a stand-in for tests, fireactions {})",
            env!("CARGO_PKG_VERSION")
        );
        return ExitCode::SUCCESS;
    }
    match qemu::run(&given) {
        Ok(never) => match never {},
        Err(error) => failed(&error),
    }
}

fn failed(error: &str) -> ExitCode {
    eprintln!("fireactions-standin: {error}");
    ExitCode::FAILURE
}
