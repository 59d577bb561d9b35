//! File copies and execs: streams that belong to one session.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::state::{Shared, State};
use crate::limits::STREAM_WINDOW;
use crate::tail::Tail;
use crate::text::line;
use crate::{Exit, GuestMsg, Stream, WinSize};

/// One open stream.
#[derive(Debug, Default)]
pub(super) struct StreamState {
    input: VecDeque<u8>,
    received: u64,
    credited: u64,
    /// The input has ended (after this many bytes, for a file).
    input_end: bool,
    expect: Option<u64>,
    pub(super) output: Tail,
    pub(super) sent: u64,
    /// What the host has consumed.
    pub(super) credit: u64,
    /// Said after the last byte of output; the stream ends with it.
    pub(super) last: Option<GuestMsg>,
    resize: Option<WinSize>,
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

/// Names one stream of one session.
#[derive(Clone)]
pub(super) struct Handle {
    pub(super) shared: Arc<Shared>,
    pub(super) session: u64,
    pub(super) stream: u32,
}

impl Handle {
    fn find<'a>(&self, state: &'a mut State) -> Option<&'a mut StreamState> {
        if state.session == self.session { state.streams.get_mut(&self.stream) } else { None }
    }

    /// Ends the stream with this message, after its output.
    fn end(&self, message: GuestMsg) {
        self.shared.update(|state| {
            if let Some(stream) = self.find(state) {
                stream.last.get_or_insert(message);
            }
        });
    }
}

/// Bytes from the host: a file's content or an exec's standard input. Reading waits.
pub struct Incoming(pub(super) Handle);

impl io::Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let handle = &self.0;
        let read = handle.shared.wait(None, |state| {
            let Some(stream) = handle.find(state) else {
                return Some(Err(io::ErrorKind::ConnectionReset.into()));
            };
            if stream.input.is_empty() {
                let whole = stream.expect.is_some_and(|size| stream.received >= size);
                return (whole || stream.input_end || stream.last.is_some()).then_some(Ok(0));
            }
            Some(io::Read::read(&mut stream.input, buffer))
        });
        handle.shared.update(|_| ());
        read.unwrap_or(Ok(0))
    }
}

/// Bytes to the host: a tar archive or an exec's output. Writing waits while a window of bytes is under way.
pub struct Outgoing {
    pub(super) handle: Handle,
    pub(super) stream: Stream,
}

impl io::Write for Outgoing {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if data.is_empty() {
            return Ok(0);
        }
        let handle = &self.handle;
        let taken = handle.shared.wait(None, |state| {
            let open = handle.find(state).filter(|stream| stream.last.is_none());
            let Some(stream) = open else {
                return Some(Err(io::ErrorKind::BrokenPipe.into()));
            };
            let room = usize::try_from(STREAM_WINDOW.saturating_sub(stream.output.len())).unwrap_or(0);
            (room > 0).then(|| {
                let take = data.len().min(room);
                stream.output.push(self.stream, &data[..take]);
                Ok(take)
            })
        });
        handle.shared.update(|_| ());
        taken.unwrap_or(Ok(0))
    }

    /// Output is flushed by the session itself.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The end of a file copy.
pub struct Done(pub(super) Handle);

impl Done {
    /// Tells the host how it went.
    pub fn finish(self, result: Result<(), String>) {
        let error = result.err().map(|text| line(&text));
        self.0.end(GuestMsg::FileDone { stream: self.0.stream, error });
    }
}

impl Drop for Done {
    /// A copy that nobody reported on has failed; after a report this says nothing.
    fn drop(&mut self) {
        let error = Some("the agent gave up on it".to_owned());
        self.0.end(GuestMsg::FileDone { stream: self.0.stream, error });
    }
}

/// Something that happened to a running exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecSignal {
    /// The terminal has a new size.
    Resize(WinSize),
    /// The host hung up, or [`ExecControl::finish`] was called: the program has no business any more.
    Gone,
}

/// Steers an exec.
#[derive(Clone)]
pub struct ExecControl(pub(super) Handle);

impl ExecControl {
    /// Waits for the next thing that happens to it.
    pub fn next(&self) -> ExecSignal {
        let handle = &self.0;
        handle
            .shared
            .wait(None, |state| match handle.find(state) {
                Some(stream) if stream.last.is_none() => stream.resize.take().map(ExecSignal::Resize),
                _ => Some(ExecSignal::Gone),
            })
            .unwrap_or(ExecSignal::Gone)
    }

    /// Tells the host how the program ended. To be called after its last byte of output was written.
    pub fn finish(&self, exit: Exit) {
        let exit = match exit {
            Exit::Unstartable(text) => Exit::Unstartable(line(&text)),
            other => other,
        };
        self.0.end(GuestMsg::ExecExited { stream: self.0.stream, exit });
    }
}
