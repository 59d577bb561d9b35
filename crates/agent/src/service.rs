//! The agent beside an image's own init.

use std::process::ExitCode;

use crate::cmdline::Cmdline;
use crate::console::say;
use crate::{port, run};

/// First argument that starts the agent this way. The second is the boot time in microseconds.
pub(crate) const VERB: &str = "service";

/// Serves the host for ever, as a child of the image's init.
pub(crate) fn main() -> ExitCode {
    // Out of PID 1's session: nothing that init does to its terminal reaches the agent.
    let _ = rustix::process::setsid();
    let boot_us =
        std::env::args().nth(2).and_then(|text| text.parse().ok()).unwrap_or_else(run::monotonic_us);
    let failed = Cmdline::read()
        .and_then(|cmdline| port::open(&cmdline.host))
        .map_or_else(|error| error, |channel| run::run(channel, run::Role::Service, boot_us));
    say(format_args!("the agent ends: {failed}"));
    ExitCode::FAILURE
}
