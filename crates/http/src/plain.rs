//! Words from the network.

/// Most characters that are repeated.
const MAX_WORDS: usize = 300;

/// Words from the network as they may be shown: without control characters, and at most 300 of them.
pub fn plain(text: &str) -> String {
    let mut words: String =
        text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_WORDS + 1).collect();
    if words.chars().count() > MAX_WORDS {
        words.pop();
        words.push('…');
    }
    words
}

/// For fuzz targets: a text that can be shown on a terminal and does not fill it, as what is made of [`plain`] words.
///
/// # Panics
///
/// When it is none.
pub fn assert_presentable(text: &str) {
    assert!(text.chars().count() < 1_000 && !text.contains(char::is_control), "{text:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_from_the_network_are_bounded_and_plain() {
        assert_eq!(plain(" a\u{1b}[31m\nb\r\n "), "a [31m b");
        let long = plain(&"ä".repeat(5000));
        assert_eq!(long.chars().count(), MAX_WORDS + 1);
        assert!(long.ends_with("ä…"));
        assert_eq!(plain(&"x".repeat(MAX_WORDS)).len(), MAX_WORDS);
    }
}
