//! An upload in ranges, as the first version of the service has it: each says where in the content it is; they come in
//! any order and more than once. Plain data: which bytes are there.

use std::collections::BTreeMap;

use super::extent::Extent;

#[derive(Debug, Default)]
pub(crate) struct Coverage {
    /// Beginnings and ends; none touch.
    covered: BTreeMap<u64, u64>,
    /// All of them together.
    bytes: u64,
}

impl Coverage {
    /// A range has come.
    pub(crate) fn add(&mut self, extent: Extent) {
        if extent.len == 0 {
            return;
        }
        let (mut begin, mut end) = (extent.at, extent.end());
        // Those that overlap or touch become one. They are disjoint, so that the last ones below `end` are all of them.
        while let Some((&at, &to)) = self.covered.range(..=end).next_back() {
            if to < begin {
                break;
            }
            (begin, end) = (begin.min(at), end.max(to));
            self.covered.remove(&at);
            self.bytes -= to - at;
        }
        self.covered.insert(begin, end);
        self.bytes += end - begin;
    }

    /// How many bytes are there.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether every byte of `size` is there, and none behind.
    pub(crate) fn is_whole(&self, size: u64) -> bool {
        if size == 0 {
            self.covered.is_empty()
        } else {
            self.covered.len() == 1 && self.covered.get(&0) == Some(&size)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_cover_what_a_set_of_bytes_would(ranges in prop::collection::vec((0_u64..60, 0_u64..12), 0..30), size in 0_u64..70) {
            let mut coverage = Coverage::default();
            let mut bytes = std::collections::BTreeSet::new();
            for (at, len) in ranges {
                coverage.add(Extent { at, len });
                bytes.extend(at..at + len);
            }
            prop_assert_eq!(coverage.is_whole(size), bytes == (0..size).collect());
            prop_assert_eq!(coverage.bytes(), bytes.len() as u64);
        }
    }
}
