//! What Firecracker wrote, made fit to be shown.

/// Longest text of Firecracker's that is kept, in characters.
const MAX: usize = 2000;

/// One line without control characters, cut to a bounded length.
pub(super) fn line(text: &str) -> String {
    let show = |c: char| match c {
        '\n' | '\r' | '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    let text = text.trim();
    let mut shown: String = text.chars().take(MAX).map(show).collect();
    if text.chars().nth(MAX).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_printable_and_bounded() {
        assert_eq!(line("  a\nb\u{1b}[31m\0 \n"), "a b\u{fffd}[31m\u{fffd}");
        assert_eq!(line(&"ü".repeat(5000)).chars().count(), MAX + 1);
    }
}
