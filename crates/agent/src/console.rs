//! One clear line at a time on the guest's console, which the host keeps in a bounded file.

use std::fmt::Display;
use std::io::Write;

/// Prints one line. What an error text brings along is flattened, so that one event stays one line.
pub(crate) fn say(text: impl Display) {
    let line: String = text.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    // A console that cannot be written is no reason to stop; there is nowhere to say so either.
    let _ = writeln!(std::io::stderr(), "fireactions-agent: {line}");
}
