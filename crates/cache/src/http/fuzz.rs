//! What the fuzz target calls and the tests try their inputs with: whatever a guest says, or a file on the disk, it is
//! judged and never a panic.

// A broken invariant is a finding, and is to be as loud as it can.
#![allow(clippy::missing_panics_doc, clippy::expect_used)]

use std::io::ErrorKind;

use crate::bucket;
use crate::entry_file::Label;
use crate::limits::{BLOCKS, KEY};
use crate::{Key, Version};

use super::{block_list, query, range, twirp, v1};

/// The first byte says what the rest is: a block list, ranges, a query, a request of either version, the end of an entry's file,
/// or an object of a bucket. Whether it was accepted.
pub fn cache(data: &[u8]) -> bool {
    let Some((kind, data)) = data.split_first() else { return false };
    let text = String::from_utf8_lossy(data);
    match kind {
        b'b' => block_list::parse(&text).is_ok_and(|ids| {
            assert!(ids.len() <= BLOCKS);
            let tags: Vec<_> = ids.iter().map(|id| format!("<Latest>{id}</Latest>")).collect();
            let again = block_list::parse(&format!("<BlockList>{}</BlockList>", tags.concat()));
            assert_eq!(again.ok(), Some(ids), "names come back as they were");
            true
        }),
        b'r' => {
            let size = data.len() as u64 * 1000;
            let part = range::part(&text, size);
            assert!(part.as_ref().is_ok_and(|(at, len)| *len > 0 && at + len <= size) || part.is_err());
            let incoming = range::incoming(&text);
            let fits = |(at, len): &(u64, u64)| *len > 0 && at.checked_add(*len).is_some();
            assert!(incoming.as_ref().is_ok_and(fits) || incoming.is_err());
            part.is_ok() || incoming.is_ok()
        }
        b'q' => query::value(&text, "key").is_some_and(|key| {
            // Whatever is accepted is within the limits, and nothing that moves a cursor.
            let accepted = Key::new(key.clone()).is_ok();
            assert!(!accepted || (key.chars().count() <= KEY && !key.contains([',', '\n', '\u{1b}'])));
            accepted && Version::new(key).is_ok()
        }),
        b't' => twirp::parse(data).is_ok(),
        b'v' => v1::parse_reserve(data).is_ok() || v1::parse_commit(data).is_ok(),
        b'c' => bucket::name_of_card("ci", data).is_some_and(|name| {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'/';
            assert!(
                name.starts_with("ci/v1/entries/") && name.bytes().all(plain),
                "nothing of a guest is in a name"
            );
            assert_eq!(name.split('/').count(), 5);
            true
        }),
        b'l' => {
            let read = |to: &mut [u8], at: u64| {
                let from = usize::try_from(at).ok().and_then(|at| data.get(at..)).unwrap_or_default();
                to.copy_from_slice(from.get(..to.len()).ok_or(ErrorKind::UnexpectedEof)?);
                Ok(())
            };
            let label = Label::find(data.len() as u64, read).expect("no read goes beyond the file");
            label.is_some_and(|label| {
                assert!(label.size < data.len() as u64, "the content is within the file");
                true
            })
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use fireactions_testkit::corpus;

    use super::*;

    #[test]
    fn seeds() {
        let mut accepted = 0;
        corpus::each("cache", |seed| accepted += usize::from(cache(seed)));
        assert!(accepted >= 11, "the seeds no longer reach what they were made for: {accepted}");
    }
}
