//! The one thread that reads and writes the channel.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::channel::Wire;
use super::dispatch::handle;
use super::job::Phase;
use super::state::{Shared, State};
use crate::decoder::Decoder;
use crate::frame::{Frame, Kind};
use crate::limits::MAX_HOST_CONTROL;
use crate::{GuestMsg, HostMsg};

/// The host is not read further while this many events wait for the agent.
const MAX_EVENTS: usize = 256;

pub(super) struct Io {
    shared: Arc<Shared>,
    wire: Wire,
    decoder: Decoder,
    out: Vec<u8>,
    written: usize,
    input: Vec<u8>,
}

impl Io {
    pub(super) fn new(shared: Arc<Shared>, wire: Wire) -> Self {
        let decoder = Decoder::new(MAX_HOST_CONTROL);
        Self { shared, wire, decoder, out: Vec::new(), written: 0, input: vec![0; 64 * 1024] }
    }

    /// Serves one host after the other, for ever.
    pub(super) fn run(mut self) {
        loop {
            // Whatever ended the connection, the answer is to look for the next one.
            let _ = self.wire.connect().and_then(|()| self.serve());
            self.out.clear();
            self.written = 0;
            self.shared.lock().writing = false;
            self.shared.update(State::disconnect);
            let eager = matches!(self.shared.lock().job.phase, Phase::Idle);
            let pause = self.wire.lost(eager);
            std::thread::sleep(pause);
        }
    }

    /// Serves until the host is gone.
    fn serve(&mut self) -> io::Result<()> {
        loop {
            self.write()?;
            let (busy, full) = {
                let state = self.shared.lock();
                (self.written < self.out.len(), state.events.len() >= MAX_EVENTS)
            };
            let Some(fd) = self.wire.fd() else { return Ok(()) };
            let mut wanted = PollFlags::empty();
            wanted.set(PollFlags::IN, !full);
            wanted.set(PollFlags::OUT, busy);
            let mut fds = [
                PollFd::from_borrowed_fd(fd, wanted),
                PollFd::from_borrowed_fd(self.shared.wake_fd().as_fd(), PollFlags::IN),
            ];
            let timeout = Timespec::try_from(Duration::from_millis(if full { 20 } else { 5000 })).ok();
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let (ready, woken) = (fds[0].revents(), fds[1].revents());
            if !woken.is_empty() {
                self.shared.woken();
            }
            if ready.intersects(PollFlags::IN) {
                self.read()?;
            } else if ready.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
                return Ok(());
            }
        }
    }

    /// Reads what is there and acts on it.
    fn read(&mut self) -> io::Result<()> {
        let Some(fd) = self.wire.fd() else { return Ok(()) };
        let count = match rustix::io::read(fd, &mut self.input[..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        let mut rest = &self.input[..count];
        while let Some(frame) = self.decoder.next(&mut rest) {
            // A piece of an earlier session's frame is nothing to worry about: the next zero ended it.
            if let Ok(frame) = frame
                && accept(&mut state, &frame)
            {
                // A session starts by ending what was under way, and nothing of an earlier one follows.
                self.out = vec![0];
                self.written = 0;
            }
        }
        drop(state);
        shared.notify();
        Ok(())
    }

    /// Writes until the channel takes no more or nothing is left.
    fn write(&mut self) -> io::Result<()> {
        loop {
            if self.written == self.out.len() {
                self.out.clear();
                self.written = 0;
                let mut state = self.shared.lock();
                state.fill(&mut self.out);
                let writing = !self.out.is_empty();
                if state.writing != writing {
                    state.writing = writing;
                    self.shared.notify();
                }
                drop(state);
                // Room was made for those who wait to write.
                self.shared.notify();
                if !writing {
                    return Ok(());
                }
            }
            let Some(fd) = self.wire.fd() else { return Ok(()) };
            match rustix::io::write(fd, &self.out[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Acts on a frame; true when it started a session.
fn accept(state: &mut State, frame: &Frame) -> bool {
    let current = state.nonce == Some(frame.nonce);
    match frame.kind {
        Kind::Control => match serde_json::from_slice::<HostMsg>(&frame.body) {
            Ok(HostMsg::Hello { oldest, newest, machine }) if !current => {
                state.connect(frame.nonce, machine);
                let hello = state.hello(oldest, newest);
                state.say(GuestMsg::Hello(hello));
                return true;
            }
            Ok(message) if current => handle(state, message),
            Err(error) if current => {
                // Newer hosts may say more than this agent knows.
                state.log(crate::LogLevel::Warn, &format!("a message was not understood: {error}"));
            }
            _ => {}
        },
        Kind::Data if current => {
            if let Some(stream) = state.streams.get_mut(&frame.stream)
                && !stream.receive(&frame.body)
            {
                state.streams.remove(&frame.stream);
            }
        }
        Kind::Credit if current => {
            if let Some(consumed) = frame.credit() {
                if frame.stream == 0 {
                    state.job.acknowledge(consumed);
                } else if let Some(stream) = state.streams.get_mut(&frame.stream) {
                    stream.credit = stream.credit.max(consumed.min(stream.sent));
                }
            }
        }
        _ => {}
    }
    false
}
