//! File copies and execs: streams that belong to one session.

use std::io;
use std::sync::Arc;

use super::flow::StreamState;
use super::notice::StreamId;
use super::state::{Shared, State};
use crate::limits::STREAM_WINDOW;
use crate::text::line;
use crate::{Exit, GuestMsg, Stream, WinSize};

/// Reaches one stream of one session.
#[derive(Clone)]
pub(super) struct Handle {
    pub(super) shared: Arc<Shared>,
    pub(super) id: StreamId,
}

impl Handle {
    fn find<'a>(&self, state: &'a mut State) -> Option<&'a mut StreamState> {
        if state.session == self.id.session { state.streams.get_mut(&self.id.number) } else { None }
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
        self.0.end(GuestMsg::FileDone { stream: self.0.id.number, error });
    }
}

impl Drop for Done {
    /// A copy that nobody reported on has failed; after a report this says nothing.
    fn drop(&mut self) {
        let error = Some("the agent gave it up".to_owned());
        self.0.end(GuestMsg::FileDone { stream: self.0.id.number, error });
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
        self.0.end(GuestMsg::ExecExited { stream: self.0.id.number, exit });
    }
}
