//! One clear line at a time on the guest's console, which the host keeps in a bounded file.

use std::fmt::Display;
use std::fs::File;
use std::io::Write;

/// Prints one line. What an error text brings along is flattened, so that one event stays one line.
pub(crate) fn say(text: impl Display) {
    // A console that cannot be written is no reason to stop; there is nowhere to say so either.
    let _ = writeln!(std::io::stderr(), "{}", line(text));
}

/// Prints one line that is on the console when this returns, as the last word before the machine ends must be: what goes
/// to a terminal is sent later, by interrupts, and a guest without a timer cannot wait for that. The kernel prints its own
/// errors at once.
pub(crate) fn insist(text: impl Display) {
    let line = line(text);
    let kmsg = File::options().write(true).open("/dev/kmsg");
    // One write is one message.
    if kmsg.and_then(|mut kmsg| kmsg.write_all(format!("<3>{line}\n").as_bytes())).is_err() {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

fn line(text: impl Display) -> String {
    let text: String = text.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("fireactions-agent: {text}")
}
