//! Ranges of bytes.

use crate::CacheError;

/// The part of a content of `size` bytes that `bytes=…` asks for: its beginning and its length.
pub(super) fn part(range: &str, size: u64) -> Result<(u64, u64), CacheError> {
    let wrong = || CacheError::Range { range: range.chars().take(64).collect(), size };
    let (from, to) =
        range.trim().strip_prefix("bytes=").and_then(|range| range.split_once('-')).ok_or_else(wrong)?;
    let (from, end) = match (from.trim(), to.trim()) {
        ("", last) => {
            let last = number(last).ok_or_else(wrong)?;
            (size.saturating_sub(last), size)
        }
        (from, "") => (number(from).ok_or_else(wrong)?, size),
        (from, to) => {
            let (from, to) =
                number(from).zip(number(to)).filter(|(from, to)| from <= to).ok_or_else(wrong)?;
            (from, size.min(to.saturating_add(1)))
        }
    };
    if from < end { Ok((from, end - from)) } else { Err(wrong()) }
}

/// What `Content-Range: bytes 0-9/*` says of a part that comes in: its beginning and its length.
pub(super) fn incoming(range: &str) -> Result<(u64, u64), CacheError> {
    let parse = || {
        let (range, total) = range.trim().strip_prefix("bytes")?.trim().split_once('/')?;
        let (from, to) = range.split_once('-')?;
        let (from, to) = (number(from.trim())?, number(to.trim())?);
        let total = total.trim();
        let total = if total == "*" { None } else { Some(number(total)?) };
        let len = to.checked_sub(from)?.checked_add(1)?;
        (from.checked_add(len).is_some() && total.is_none_or(|total| to < total)).then_some((from, len))
    };
    parse().ok_or_else(|| {
        let range: String = range.chars().take(64).collect();
        CacheError::Invalid(format!("'{range}' is no Content-Range such as 'bytes 0-9/*'"))
    })
}

/// Digits alone: no sign.
fn number(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_are_those_of_the_content() {
        for (range, expected) in [
            ("bytes=0-", Some((0, 10))),
            ("bytes=0-0", Some((0, 1))),
            ("bytes=3-6", Some((3, 4))),
            ("bytes=3-60", Some((3, 7))),
            ("bytes=9-18446744073709551615", Some((9, 1))),
            ("bytes=-4", Some((6, 4))),
            ("bytes=-40", Some((0, 10))),
            ("bytes=-0", None),
            ("bytes=10-", None),
            ("bytes=6-3", None),
            ("bytes=-5--1", None),
            ("bytes=--1", None),
            ("bytes=+1-2", None),
            ("bytes=0-1,3-4", None),
            ("bytes=18446744073709551616-", None),
            ("lines=0-1", None),
            ("", None),
        ] {
            assert_eq!(part(range, 10).ok(), expected, "{range}");
        }
        for (range, expected) in [
            ("bytes 0-9/*", Some((0, 10))),
            ("bytes 5-9/10", Some((5, 5))),
            ("bytes 5-10/10", None),
            ("bytes -5-9/*", None),
            ("bytes 9-5/*", None),
            ("bytes 0-18446744073709551615/*", None),
            ("bytes */10", None),
            ("bytes 0-9", None),
        ] {
            assert_eq!(incoming(range).ok(), expected, "{range}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_much(text in ".{0,40}", numbers in "(bytes[= ])?-?[0-9]{0,21}-[0-9]{0,21}(/[0-9*]{0,4})?", size in any::<u64>()) {
            for text in [&text, &numbers] {
                if let Ok((from, len)) = part(text, size) {
                    prop_assert!(len > 0 && from + len <= size);
                }
                if let Ok((from, len)) = incoming(text) {
                    prop_assert!(len > 0 && from.checked_add(len).is_some());
                }
            }
        }
    }
}
