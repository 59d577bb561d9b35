//! What there is of an open stream on this side: bytes that came, and bytes that are to go.

use std::collections::VecDeque;

use crate::limits::STREAM_WINDOW;
use crate::tail::Tail;
use crate::{GuestMsg, WinSize};

/// One open stream.
#[derive(Debug, Default)]
pub(super) struct StreamState {
    pub(super) input: VecDeque<u8>,
    pub(super) received: u64,
    credited: u64,
    /// The input has ended (after this many bytes, for a file).
    pub(super) input_end: bool,
    pub(super) expect: Option<u64>,
    pub(super) output: Tail,
    pub(super) sent: u64,
    /// What the host has consumed.
    pub(super) credit: u64,
    /// Said after the last byte of output; the stream ends with it.
    pub(super) last: Option<GuestMsg>,
    pub(super) resize: Option<WinSize>,
}

impl StreamState {
    pub(super) fn new(expect: Option<u64>) -> Self {
        Self { expect, ..Self::default() }
    }

    /// Bytes from the host. False when it sends more than it may.
    pub(super) fn receive(&mut self, data: &[u8]) -> bool {
        if self.last.is_some() {
            return true; // over, as the host is about to hear
        }
        self.received += data.len() as u64;
        self.input.extend(data);
        self.input.len() as u64 <= STREAM_WINDOW && !self.input_end
    }

    pub(super) fn end_input(&mut self) {
        self.input_end = true;
    }

    pub(super) fn resize(&mut self, size: WinSize) {
        self.resize = Some(size);
    }

    fn consumed(&self) -> u64 {
        self.received - self.input.len() as u64
    }

    /// What to tell the host about consumption, when it is worth a frame.
    pub(super) fn due_credit(&mut self) -> Option<u64> {
        let consumed = self.consumed();
        self.credit_is_due().then(|| {
            self.credited = consumed;
            consumed
        })
    }

    fn credit_is_due(&self) -> bool {
        self.consumed() - self.credited >= STREAM_WINDOW / 4
    }

    /// It has something that may be sent now.
    pub(super) fn pending(&self) -> bool {
        let data = self.output.len() > 0;
        self.credit_is_due()
            || (data && self.sent < self.credit + STREAM_WINDOW)
            || (!data && self.last.is_some())
    }
}
