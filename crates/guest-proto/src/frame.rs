//! One frame: a 20-byte header and a body, stuffed (see `cobs`) and ended by a zero.
//!
//! ```text
//! 0  layout (1)   1  kind   2  channel   3  zero
//! 4  stream, u32 little-endian
//! 8  length of the body, u32 little-endian
//! 12 the session's nonce, u64 little-endian
//! ```
//!
//! The length is redundant on purpose: it tells a frame that was cut where a block of stuffing ended from a whole one.

use serde::Serialize;

use crate::{Stream, cobs};

pub(crate) const HEADER: usize = 20;
const LAYOUT: u8 = 1;

/// What a frame's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A JSON message.
    Control,
    /// Bytes of a stream.
    Data,
    /// Bytes of the job's output, after their offset (u64 little-endian).
    Job,
    /// How many bytes the sender has consumed so far of what the other sent on this stream (u64 little-endian).
    /// Absolute, so that a lost or a repeated one does no harm. Stream 0 is the job's output.
    Credit,
}

/// A decoded frame. Its body is unjudged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What the body is.
    pub kind: Kind,
    /// 0 = towards a program, 1 = its standard output, 2 = its standard error.
    pub channel: u8,
    /// Stream, 0 where none is meant.
    pub stream: u32,
    /// Nonce of the session.
    pub nonce: u64,
    /// At most the decoder's limit.
    pub body: Vec<u8>,
}

/// Why bytes between two zeros are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Too many bytes without an end.
    #[error("a frame is longer than the limit")]
    Oversized,
    /// Not a frame, or a piece of one.
    #[error("a frame is malformed or cut")]
    Malformed,
    /// More than a few ends in a row.
    #[error("too many empty frames in a row")]
    Empty,
}

/// The channel of an output.
pub(crate) fn channel(stream: Stream) -> u8 {
    match stream {
        Stream::Stdout => 1,
        Stream::Stderr => 2,
    }
}

/// The output of a channel.
#[cfg(feature = "host")]
pub(crate) fn output(channel: u8) -> Option<Stream> {
    match channel {
        1 => Some(Stream::Stdout),
        2 => Some(Stream::Stderr),
        _ => None,
    }
}

impl Frame {
    /// The frame as it goes over the wire, end included.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, self.nonce, self.kind, self.channel, self.stream, &[&self.body]);
        out
    }

    /// Reads one unstuffed frame.
    pub(crate) fn parse(mut raw: Vec<u8>) -> Option<Frame> {
        let header: [u8; HEADER] = raw.get(..HEADER)?.try_into().ok()?;
        let body = raw.split_off(HEADER);
        let word = |at: usize| Some(u32::from_le_bytes(header.get(at..at + 4)?.try_into().ok()?));
        let kind = match header[1] {
            1 => Kind::Control,
            2 => Kind::Data,
            3 => Kind::Job,
            4 => Kind::Credit,
            _ => return None,
        };
        let whole = usize::try_from(word(8)?).ok()? == body.len();
        let nonce = u64::from_le_bytes(header[12..].try_into().ok()?);
        (header[0] == LAYOUT && header[3] == 0 && header[2] <= 2 && whole).then_some(Frame {
            kind,
            channel: header[2],
            stream: word(4)?,
            nonce,
            body,
        })
    }

    /// The number in a `Credit` frame.
    pub(crate) fn credit(&self) -> Option<u64> {
        Some(u64::from_le_bytes(self.body.as_slice().try_into().ok()?))
    }

    /// Offset and bytes of a `Job` frame.
    #[cfg(feature = "host")]
    pub(crate) fn job(&self) -> Option<(u64, &[u8])> {
        let (offset, data) = self.body.split_first_chunk::<8>()?;
        Some((u64::from_le_bytes(*offset), data))
    }
}

/// Appends a whole frame, end included, to `out`.
pub(crate) fn write(out: &mut Vec<u8>, nonce: u64, kind: Kind, channel: u8, stream: u32, body: &[&[u8]]) {
    let len: usize = body.iter().map(|part| part.len()).sum();
    let mut header = [0u8; HEADER];
    header[0] = LAYOUT;
    header[1] = match kind {
        Kind::Control => 1,
        Kind::Data => 2,
        Kind::Job => 3,
        Kind::Credit => 4,
    };
    header[2] = channel;
    header[4..8].copy_from_slice(&stream.to_le_bytes());
    // Bodies are bounded far below 4 GiB; a wrong length would only make the other side drop the frame.
    header[8..12].copy_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
    header[12..].copy_from_slice(&nonce.to_le_bytes());
    let mut parts: [&[u8]; 3] = [&header, &[], &[]];
    for (place, part) in parts[1..].iter_mut().zip(body) {
        *place = part;
    }
    cobs::encode(&parts, out);
    out.push(0);
}

/// Appends a control message.
pub(crate) fn write_control(out: &mut Vec<u8>, nonce: u64, message: &impl Serialize) {
    // The message types hold nothing that JSON cannot say; an empty body would be dropped by the other side.
    let body = serde_json::to_vec(message).unwrap_or_default();
    write(out, nonce, Kind::Control, 0, 0, &[&body]);
}

/// Appends an acknowledgement.
pub(crate) fn write_credit(out: &mut Vec<u8>, nonce: u64, stream: u32, consumed: u64) {
    write(out, nonce, Kind::Credit, 0, stream, &[&consumed.to_le_bytes()]);
}
