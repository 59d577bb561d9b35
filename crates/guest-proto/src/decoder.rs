//! Bytes to frames, holding at most one frame.

use crate::cobs;
use crate::frame::{Frame, FrameError, HEADER};

/// Ends in a row that a writer may make: one that starts a session after one that ended a frame, and some spare.
const MAX_EMPTY: u32 = 16;

/// Takes bytes as they come and gives frames, whatever the cuts between reads.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    held: Vec<u8>,
    skipping: bool,
    empty: u32,
}

impl Decoder {
    /// A decoder for bodies of at most `max_body` bytes.
    pub fn new(max_body: usize) -> Self {
        Self { limit: cobs::max_encoded(HEADER + max_body), held: Vec::new(), skipping: false, empty: 0 }
    }

    /// Takes bytes from the front of `input` up to the end of one frame. `None` means that `input` is used up.
    /// After an error the next call goes on behind the damage.
    pub fn next(&mut self, input: &mut &[u8]) -> Option<Result<Frame, FrameError>> {
        while !input.is_empty() {
            let end = input.iter().position(|byte| *byte == 0);
            let piece = &input[..end.unwrap_or(input.len())];
            *input = &input[end.map_or(input.len(), |at| at + 1)..];
            if !self.skipping {
                if self.held.len() + piece.len() > self.limit {
                    self.held = Vec::new();
                    self.skipping = end.is_none();
                    self.empty = 0;
                    return Some(Err(FrameError::Oversized));
                }
                self.held.extend_from_slice(piece);
            }
            if end.is_some() {
                if std::mem::take(&mut self.skipping) {
                    continue;
                }
                if self.held.is_empty() {
                    self.empty += 1;
                    if self.empty > MAX_EMPTY {
                        self.empty = 0;
                        return Some(Err(FrameError::Empty));
                    }
                    continue;
                }
                self.empty = 0;
                let frame = cobs::decode(&self.held).and_then(Frame::parse);
                self.held.clear();
                return Some(frame.ok_or(FrameError::Malformed));
            }
        }
        None
    }

    /// Bytes held for a frame that has not ended yet.
    pub fn held(&self) -> usize {
        self.held.len()
    }
}
