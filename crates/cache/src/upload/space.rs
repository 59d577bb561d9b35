//! What an upload takes of the disk: what is written, and what was announced and is still to come. It is told without
//! waiting for anybody.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::coverage::Coverage;
use super::extent::Extent;
use crate::CacheError;

#[derive(Debug, Default)]
pub(crate) struct Space {
    /// Of transfers that are over: also of those that failed, whose bytes are on the disk all the same.
    written: Mutex<Coverage>,
    /// What transfers have announced that are under way, and what was written by others.
    held: AtomicU64,
    /// What is announced, and not written yet.
    unwritten: AtomicU64,
}

impl Space {
    /// Refuses what leaves too many gaps on the disk, transfers that failed included.
    pub(super) fn bounded(&self) -> Result<(), CacheError> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).bounded()
    }

    /// So many bytes come.
    pub(super) fn expect(&self, len: u64) {
        self.held.fetch_add(len, Ordering::Relaxed);
        self.unwritten.fetch_add(len, Ordering::Relaxed);
    }

    /// So many of them are on the disk.
    pub(super) fn is_written(&self, len: u64) {
        self.unwritten.fetch_sub(len, Ordering::Relaxed);
    }

    /// Of these bytes nothing more comes than what was written.
    pub(super) fn expect_no_more(&self, len: u64, written: Extent) {
        let mut coverage = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let before = coverage.bytes();
        coverage.add(written);
        let more = coverage.bytes() - before;
        self.held.fetch_add(more, Ordering::Relaxed);
        self.held.fetch_sub(len, Ordering::Relaxed);
        self.unwritten.fetch_sub(len - written.len, Ordering::Relaxed);
    }

    /// So many bytes are copied. They take room on the disk, and are none of the upload's own.
    pub(crate) fn begin_copy(&self, len: u64) {
        self.unwritten.fetch_add(len, Ordering::Relaxed);
    }

    /// They are on the disk.
    pub(crate) fn end_copy(&self, len: u64) {
        self.unwritten.fetch_sub(len, Ordering::Relaxed);
    }

    /// What counts for the limits.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// What will be taken from what is free.
    pub(crate) fn unwritten(&self) -> u64 {
        self.unwritten.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::BLOCKS;

    #[test]
    fn transfers_that_fail_leave_so_many_gaps() {
        let space = Space::default();
        for number in 0..BLOCKS as u64 {
            space.bounded().unwrap();
            space.expect(2);
            space.is_written(1);
            space.expect_no_more(2, Extent { at: number * 2, len: 1 });
        }
        assert!(matches!(space.bounded(), Err(CacheError::TooMany(_))));
        assert_eq!((space.held(), space.unwritten()), (BLOCKS as u64, 0));
    }
}
