//! The agent beside an image's own init.

use std::process::ExitCode;

use crate::cmdline::Cmdline;
use crate::console::say;
use crate::{port, run};

/// First argument that starts the agent this way. The second is the boot time in microseconds; the rest are the names of the
/// SSH host keys that the image has.
pub(crate) const VERB: &str = "service";

/// Serves the host for ever, as a child of the image's init.
pub(crate) fn main() -> ExitCode {
    // Out of PID 1's session: nothing that init does to its terminal reaches the agent.
    let _ = rustix::process::setsid();
    let boot_us =
        std::env::args().nth(2).and_then(|text| text.parse().ok()).unwrap_or_else(run::monotonic_us);
    let role = run::Role::Service { image_keys: std::env::args().skip(3).collect(), is_settled: false };
    let failed = Cmdline::read()
        .and_then(|cmdline| port::open(&cmdline.host))
        .map_or_else(|error| error, |channel| run::run(channel, role, boot_us));
    say(format_args!("the agent ends: {failed}"));
    ExitCode::FAILURE
}
