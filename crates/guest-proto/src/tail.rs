//! The last bytes of a program's output: a queue with absolute offsets that remembers which of the two outputs each
//! byte came from. Both sides use it; its owner bounds it.

use std::collections::VecDeque;

use crate::Stream;

/// Bytes `start..end` of an output. Neighbours from the same output are merged, so that a flood of tiny writes costs
/// its bytes; two outputs that take turns with every byte cost 17 times that, which is still bounded.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    start: u64,
    bytes: VecDeque<u8>,
    /// Offset where each run ends, in rising order.
    runs: VecDeque<(u64, Stream)>,
}

impl Tail {
    /// An empty tail at this offset.
    #[cfg(any(feature = "host", test))]
    pub(crate) fn at(start: u64) -> Self {
        Self { start, ..Self::default() }
    }

    /// Offset of the first byte.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Offset behind the last byte.
    pub(crate) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Bytes held.
    pub(crate) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Appends.
    pub(crate) fn push(&mut self, stream: Stream, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        self.bytes.extend(data);
        let end = self.end();
        match self.runs.back_mut() {
            Some((last, same)) if *same == stream => *last = end,
            _ => self.runs.push_back((end, stream)),
        }
    }

    /// At most `max` bytes of one output, from offset `from` on.
    pub(crate) fn read(&self, from: u64, max: usize) -> Option<(Stream, Vec<u8>)> {
        let skip = usize::try_from(from.checked_sub(self.start)?).ok()?;
        let run = self.runs.partition_point(|(end, _)| *end <= from);
        let (end, stream) = *self.runs.get(run)?;
        let len = usize::try_from(end - from).unwrap_or(max).min(max);
        let (front, back) = self.bytes.as_slices();
        let mut data = Vec::with_capacity(len);
        if skip < front.len() {
            data.extend_from_slice(&front[skip..front.len().min(skip + len)]);
        }
        let begin = skip.saturating_sub(front.len());
        let rest = len - data.len();
        data.extend_from_slice(back.get(begin..begin + rest)?);
        Some((stream, data))
    }

    /// Forgets everything before `offset` (at most all of it).
    pub(crate) fn discard(&mut self, offset: u64) {
        let offset = offset.min(self.end());
        let Some(count) = offset.checked_sub(self.start) else { return };
        self.bytes.drain(..usize::try_from(count).unwrap_or(self.bytes.len()));
        self.start = offset;
        let runs = self.runs.partition_point(|(end, _)| *end <= offset);
        self.runs.drain(..runs);
        if self.bytes.is_empty() {
            // An idle stream keeps no large buffer.
            self.bytes = VecDeque::new();
            self.runs = VecDeque::new();
        }
    }

    /// Takes at most `max` bytes of one output from the front, with their offset.
    #[cfg(any(feature = "host", test))]
    pub(crate) fn take(&mut self, max: usize) -> Option<(u64, Stream, Vec<u8>)> {
        let from = self.start;
        let (stream, data) = self.read(from, max)?;
        self.discard(from + data.len() as u64);
        Some((from, stream, data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            writes in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..50)), 0..40),
            start in 0u64..1000, max in 1usize..60, discard_every in 1usize..5,
        ) {
            let mut tail = Tail::at(start);
            let mut expected = Vec::new();
            let mut got = Vec::new();
            let mut at = start;
            for (turn, (first, data)) in writes.iter().enumerate() {
                let stream = if *first { Stream::Stdout } else { Stream::Stderr };
                tail.push(stream, data);
                expected.extend(data.iter().map(|byte| (stream, *byte)));
                if let Some((stream, data)) = tail.read(at, max) {
                    at += data.len() as u64;
                    got.extend(data.into_iter().map(|byte| (stream, byte)));
                }
                if turn % discard_every == 0 {
                    tail.discard(at);
                }
            }
            tail.discard(at);
            while let Some((offset, stream, data)) = tail.take(max) {
                prop_assert_eq!(offset, start + got.len() as u64);
                got.extend(data.into_iter().map(|byte| (stream, byte)));
            }
            prop_assert_eq!(got, expected);
            prop_assert_eq!(tail.len(), 0);
        }
    }
}
