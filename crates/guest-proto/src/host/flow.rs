//! What there is of an open stream on this side.

use crate::Exit;
use crate::limits::STREAM_WINDOW;
use crate::tail::Tail;

/// What a stream carries, which says what may come on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Put,
    Get,
    Exec,
}

/// How a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    File(Result<(), String>),
    Exit(Exit),
    Cut,
}

/// One open stream.
#[derive(Debug)]
pub(super) struct StreamIn {
    pub(super) session: u64,
    pub(super) carries: Use,
    /// Received and not taken.
    pub(super) tail: Tail,
    /// What the guest was told about consumption.
    pub(super) credited: u64,
    /// Sent, and of that consumed by the guest.
    pub(super) sent: u64,
    pub(super) credit: u64,
    pub(super) end: Option<End>,
}

impl StreamIn {
    pub(super) fn cut(&mut self) {
        self.end.get_or_insert(End::Cut);
    }

    /// Consumption worth a frame.
    pub(super) fn due_credit(&mut self) -> Option<u64> {
        let consumed = self.tail.start();
        (self.end.is_none() && consumed - self.credited >= STREAM_WINDOW / 4).then(|| {
            self.credited = consumed;
            consumed
        })
    }
}
