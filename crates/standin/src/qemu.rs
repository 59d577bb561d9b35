//! In QEMU's place.

use std::convert::Infallible;

use crate::agent::Mouth;
use crate::arguments::Arguments;
use crate::console::Console;
use crate::play::{End, Stage, play};
use crate::qmp::Monitor;

/// Plays a machine of the QEMU driver. The error is for people.
pub(crate) fn run(given: &[String]) -> Result<Infallible, String> {
    let Arguments { qmp, console, agent, faults } = Arguments::parse(given)?;
    let monitor = Monitor::start(qmp, faults.deaf).map_err(|error| format!("the control socket: {error}"))?;
    let console = Console::new(console);
    let mouth = Mouth::default();
    let channel = mouth.channel(agent);
    play(Stage {
        console: Box::new(move |line| console.line(line)),
        // A panic as with `panic=-1` under `-no-reboot`.
        end: Box::new(move |end| {
            monitor.end(if end == End::Panic { "guest-reset" } else { "guest-shutdown" }, true)
        }),
        gate: Box::new(|| {}),
        mouth,
        channel,
        faults,
        restored: false,
    })
}
