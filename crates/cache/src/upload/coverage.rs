//! An upload in ranges, as the first version of the service has it: each says where in the content it is; they come in
//! any order and more than once. Plain data: which bytes are there.

use std::collections::BTreeMap;

use super::extent::Extent;
use crate::CacheError;
use crate::limits::BLOCKS;

#[derive(Debug, Default)]
pub(crate) struct Coverage {
    /// Beginnings and ends; none touch.
    covered: BTreeMap<u64, u64>,
    /// All of them together.
    bytes: u64,
}

impl Coverage {
    /// A place for a range that comes; `limit` is that of the whole file.
    pub(crate) fn begin(&self, extent: Extent, limit: u64) -> Result<Extent, CacheError> {
        if extent.end() > limit {
            return Err(CacheError::TooLarge { what: "the cache entry", limit });
        }
        self.bounded()?;
        Ok(extent)
    }

    /// Refuses what has too many gaps: each takes memory.
    pub(super) fn bounded(&self) -> Result<(), CacheError> {
        if self.covered.len() >= BLOCKS {
            return Err(CacheError::TooMany(format!("{BLOCKS} ranges of an upload")));
        }
        Ok(())
    }

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

    #[test]
    fn there_are_so_many_gaps() {
        let mut coverage = Coverage::default();
        for number in 0..BLOCKS as u64 {
            let extent = coverage.begin(Extent { at: number * 2, len: 1 }, u64::MAX).unwrap();
            coverage.add(extent);
        }
        let more = coverage.begin(Extent { at: BLOCKS as u64 * 2, len: 1 }, u64::MAX);
        assert_eq!(
            more.unwrap_err().to_string().split(':').next().unwrap(),
            "this job has 50000 ranges of an upload open already, which is the limit"
        );
    }

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
