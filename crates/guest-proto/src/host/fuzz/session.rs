//! A guest and a host that do whatever the bytes say: the host believes nothing that breaks a rule, holds a bounded
//! number of bytes, gives each byte of output once and in order, and never changes its mind about how the job ended.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::sync::mpsc;

use super::super::connection::due;
use super::super::flow::Use;
use super::super::inbound::{Inbound, Refusal};
use super::super::proof::Proof;
use super::super::run_state::RunState;
use super::super::state::{Packet, Shared, State};
use super::super::stream::Handle;
use super::super::{JobEvent, Link, LinkError};
use super::guest::Script;
use crate::frame;
use crate::limits::{JOB_WINDOW, MAX_BODY, MAX_NOTES, MAX_STREAMS, MAX_TEXT, STREAM_WINDOW};
use crate::{ExecRequest, Exit, Frame, HostMsg, JobResult, Kind, RunRequest};

/// Most instructions of one run.
const STEPS: usize = 300;

/// Asks once. What is not ready is not waited for.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// The byte of the job's output at this offset.
fn content(offset: u64) -> u8 {
    offset.wrapping_mul(31).to_le_bytes()[0]
}

struct World {
    shared: Arc<Shared>,
    link: Link,
    nonce: u64,
    packets: (mpsc::Sender<Box<Packet>>, mpsc::Receiver<Box<Packet>>),
    open: Vec<Handle>,
    /// Where the guest's output is, as the host has accepted it.
    at: u64,
    /// Where the next byte that a caller gets has to be.
    next: Option<u64>,
    /// A frame of output came whose bytes are not `content`.
    forged: bool,
    end: Option<JobResult>,
    rank: u8,
}

/// The bytes are instructions; see the `match` for what they are. Gives the reason if the link was ended.
pub fn session(data: &[u8]) -> Option<LinkError> {
    let shared = Arc::new(Shared::new("m".to_owned(), crate::limits::SILENCE, Proof::default()));
    let mut world = World {
        link: Link::over(&shared),
        shared: Arc::clone(&shared),
        nonce: 7,
        packets: mpsc::channel(32),
        open: Vec::new(),
        at: 0,
        next: None,
        forged: false,
        end: None,
        rank: 0,
    };
    let mut script = Script(data);
    let mut steps = 0;
    while steps < STEPS && !script.0.is_empty() {
        let mut inbound = Inbound::new(Arc::clone(&shared), world.nonce, world.packets.0.clone());
        while steps < STEPS && !script.0.is_empty() {
            steps += 1;
            match world.step(&mut script, &mut inbound) {
                Ok(true) => {}
                // Only the connection ends.
                Ok(false) | Err(Refusal::Stranger) => break,
                Err(Refusal::Fatal(error)) => {
                    world.over(&error);
                    return Some(error);
                }
            }
            assert!(inbound.held() <= MAX_BODY + MAX_BODY / 100 + 64);
            world.check();
        }
        // As when the connection is cut.
        world.shared.update(State::disconnect);
        world.nonce += 1;
        world.packets = mpsc::channel(32);
    }
    None
}

impl World {
    /// One instruction; false for a cut connection.
    fn step(&mut self, script: &mut Script<'_>, inbound: &mut Inbound) -> Result<bool, Refusal> {
        match script.byte() % 20 {
            0 | 1 => {
                let hello = script.hello(self.at);
                self.say(inbound, &hello)?;
            }
            2 | 3 => {
                let message = script.message(self.at);
                self.say(inbound, &message)?;
            }
            4 | 5 => {
                let offset = self.at;
                self.output(script, inbound, offset)?;
            }
            6 => {
                let offset = script.offset(self.at);
                self.output(script, inbound, offset)?;
            }
            7 | 8 => {
                let (channel, stream, size) = (script.byte() % 3, script.stream(), script.size());
                self.frame(inbound, Kind::Data, channel, stream, vec![b'x'; size])?;
            }
            9 => {
                let stream = script.stream();
                let sent = self.shared.lock().streams.get(&stream).map_or(0, |stream| stream.sent);
                let credit = script.offset(sent).to_le_bytes().to_vec();
                self.frame(inbound, Kind::Credit, 0, stream, credit)?;
            }
            10 => {
                let kind =
                    [Kind::Control, Kind::Data, Kind::Job, Kind::Credit][usize::from(script.byte() % 4)];
                self.forged |= kind == Kind::Job;
                let (channel, stream, count) = (script.byte() % 3, script.stream(), script.byte());
                self.frame(inbound, kind, channel, stream, script.bytes(usize::from(count)).to_vec())?;
            }
            11 => {
                let count = script.byte();
                inbound.take(script.bytes(usize::from(count)))?;
            }
            12 => {
                let size = script.size();
                inbound.take(&vec![script.byte().max(1); size])?;
            }
            13 => return Ok(false),
            14 => self.open(script),
            15 if !self.open.is_empty() => {
                let which = usize::from(script.byte()) % self.open.len();
                drop(self.open.swap_remove(which));
            }
            16 => self.exchange(script),
            17 | 18 => self.listen(),
            _ => self.ask(script),
        }
        Ok(true)
    }

    fn say(&self, inbound: &mut Inbound, message: &crate::GuestMsg) -> Result<(), Refusal> {
        let mut wire = Vec::new();
        frame::write_control(&mut wire, self.nonce, message);
        inbound.take(&wire).map(drop)
    }

    fn frame(
        &self,
        inbound: &mut Inbound,
        kind: Kind,
        channel: u8,
        stream: u32,
        body: Vec<u8>,
    ) -> Result<(), Refusal> {
        inbound.take(&Frame { kind, channel, stream, nonce: self.nonce, body }.encode()).map(drop)
    }

    fn output(&mut self, script: &mut Script<'_>, inbound: &mut Inbound, offset: u64) -> Result<(), Refusal> {
        let (channel, size) = (script.byte() % 3, script.size());
        let data = (0..size as u64).map(|step| content(offset.wrapping_add(step)));
        let body = offset.to_le_bytes().into_iter().chain(data).collect();
        self.frame(inbound, Kind::Job, channel, 0, body)
    }

    /// A person copies a file or starts a program.
    fn open(&mut self, script: &mut Script<'_>) {
        let carries = [Use::Put, Use::Get, Use::Exec][usize::from(script.byte() % 3)];
        if let Some(Ok(handle)) = now(Handle::open(&self.shared, carries)) {
            self.open.push(handle);
        }
    }

    /// A person sends to and takes from a stream, and the writer does its work.
    fn exchange(&mut self, script: &mut Script<'_>) {
        let data = vec![1; script.size()];
        if let Some(handle) = self.open.get(usize::from(script.byte()) % self.open.len().max(1)) {
            let _ = now(handle.send(&data));
            let _ = now(handle.receive());
        }
        while self.packets.1.try_recv().is_ok() {}
        due(&self.shared, self.nonce, &mut Vec::new());
    }

    /// The server takes the job's output.
    fn listen(&mut self) {
        match now(self.link.next_output()) {
            Some(Ok(JobEvent::Output { offset, data, .. })) => {
                assert!(self.end.is_none(), "output after the end");
                assert!(!data.is_empty());
                assert_eq!(offset, self.next.unwrap_or(offset), "a gap, or a byte twice");
                self.next = Some(offset + data.len() as u64);
                let genuine = (0..).zip(&data).all(|(step, byte)| *byte == content(offset + step));
                assert!(genuine || self.forged, "bytes that the guest never wrote there");
            }
            Some(Ok(JobEvent::Exited(result))) => {
                assert_eq!(*self.end.get_or_insert(result.clone()), result, "another end");
            }
            Some(Err(error)) => panic!("the link has not ended: {error}"),
            None => {}
        }
    }

    /// The server or a person asks for something that waits for an answer.
    fn ask(&mut self, script: &mut Script<'_>) {
        let text = String::new;
        match script.byte() % 4 {
            0 => {
                let run = "j1".to_owned();
                let request = RunRequest {
                    run,
                    argv: vec![],
                    env: vec![],
                    user: text(),
                    owner_of: vec![text()],
                    workdir: text(),
                };
                let _ = now(self.link.run(request));
            }
            1 => {
                let request =
                    ExecRequest { argv: vec![], env: vec![], user: text(), workdir: text(), tty: None };
                if let Some(handle) = self.open.first() {
                    let _ = now(handle.say(&HostMsg::Exec { stream: handle.id, request }));
                }
            }
            2 => drop(now(self.link.signal(15))),
            _ => drop(now(self.link.hello())),
        }
    }

    /// What holds after every instruction.
    fn check(&mut self) {
        let state = self.shared.lock();
        self.at = state.job.tail.end();
        assert!(state.ended.is_none());
        assert!(state.job.tail.len() <= JOB_WINDOW, "{} bytes of output", state.job.tail.len());
        assert!(state.streams.len() <= MAX_STREAMS);
        for stream in state.streams.values() {
            assert!(stream.tail.len() <= STREAM_WINDOW, "{} bytes of a stream", stream.tail.len());
            assert!(stream.credit <= stream.sent && stream.credited <= stream.tail.start());
        }
        assert!(state.resets.len() <= STEPS && state.grace <= STEPS as u64 * STREAM_WINDOW);
        let rank = state.job.run.rank();
        assert!(rank >= self.rank, "the job went back from {} to {rank}", self.rank);
        self.rank = rank;
        let mut texts: Vec<&String> = state.job.refused.iter().collect();
        texts.extend(state.configured.iter().filter_map(|answer| answer.as_ref().err()));
        if let RunState::Exited { result, .. } = &state.job.run {
            assert!(result.notes.len() <= MAX_NOTES);
            texts.extend(&result.notes);
            if let Exit::Unstartable(why) = &result.exit {
                texts.push(why);
            }
        }
        for text in texts {
            assert!(text.len() <= MAX_TEXT && !text.contains(char::is_control), "{text:?}");
        }
    }

    /// A link that ends says why, in one line.
    fn over(&self, error: &LinkError) {
        let text = error.to_string();
        assert!(text.len() < 2 * MAX_TEXT && !text.contains(char::is_control), "{text:?}");
        self.shared.end(error.clone());
        assert!(self.shared.lock().streams.values().all(|stream| stream.end.is_some()));
        // What had come is still to be had, and then the reason; nobody waits for ever.
        for _ in 0..JOB_WINDOW {
            match now(self.link.next_output()).expect("a caller that waits at an ended link") {
                Ok(JobEvent::Output { .. }) => {}
                Ok(JobEvent::Exited(_)) | Err(_) => return,
            }
        }
        panic!("output without an end");
    }
}
