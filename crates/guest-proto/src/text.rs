//! Text that crosses the border and is shown to people.

use crate::limits::MAX_TEXT;

/// One line without control characters (no escape sequences on an operator's terminal), cut to the limit.
pub(crate) fn line(text: &str) -> String {
    short_line(text, MAX_TEXT)
}

/// The same, cut to `max` bytes.
pub(crate) fn short_line(text: &str, max: usize) -> String {
    let mut out = String::new();
    for char in text.trim().chars() {
        let char = if char.is_control() { ' ' } else { char };
        if out.len() + char.len_utf8() > max {
            break;
        }
        out.push(char);
    }
    out
}
