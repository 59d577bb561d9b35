//! Takes the place of `qemu-system-x86_64` (`vmm.qemu_binary`), so that a real server can have a thousand machines:
//! it understands the driver's command line, takes the inherited sockets, speaks QMP, and plays the guest's agent by
//! the real protocol. Jobs are not run but played (`script.rs`).
//!
//! ```text
//! main thread   the agent: events of the session, the one job        play.rs, job.rs
//! host-link     reads and writes the agent's socket                  guest_proto::guest
//! qmp           serves one control client after the other            qmp.rs
//! ```
//!
//! `kernel_args` of a pool may hold faults, see `faults.rs`. There is no guest memory, no disk and no network; the
//! tap and the files stay open for as long as it lives, as with QEMU.

mod agent;
mod arguments;
mod console;
mod faults;
mod job;
mod play;
mod qmp;
mod script;

use std::process::ExitCode;

use arguments::Arguments;

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    if given.iter().any(|argument| argument == "--version") {
        println!(
            "QEMU emulator version 7.2.0 (a stand-in for tests, fireactions {})",
            env!("CARGO_PKG_VERSION")
        );
        return ExitCode::SUCCESS;
    }
    match Arguments::parse(&given).and_then(play::play) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("fireactions-standin: {error}");
            ExitCode::FAILURE
        }
    }
}
