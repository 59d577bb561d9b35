//! What a message of the host does: to the state at once, and to the agent by a notice.

use std::time::Duration;

use super::job::Phase;
use super::notice::{Notice, StreamId};
use super::state::State;
use crate::limits::MAX_STREAMS;
use crate::{Exit, GuestMsg, HostMsg, RunRequest};

/// A message of the host, inside its session.
pub(super) fn handle(state: &mut State, message: HostMsg) {
    let session = state.session;
    let id = |number| StreamId { session, number };
    match message {
        HostMsg::Hello { .. } => {} // the I/O thread has seen to it
        HostMsg::Settle { timeout_ms } => {
            if matches!(state.job.phase, Phase::Idle) {
                let timeout = Duration::from_millis(timeout_ms);
                state.events.push_back(Notice::Settle { timeout });
            } else {
                let error = Some("the machine has its identity already".to_owned());
                state.say(GuestMsg::Settled { error });
            }
        }
        HostMsg::Release => state.events.push_back(Notice::Release),
        HostMsg::Configure { identity, secret } => match state.job.phase {
            Phase::Idle => {
                // Kept before anything else is done: whatever cuts the connection now, the next hello proves itself.
                state.secret = secret.or_else(|| state.secret.take());
                state.job.phase = Phase::Configuring;
                state.events.push_back(Notice::Configure(identity));
            }
            Phase::Configuring => {} // the answer is on its way
            _ => state.say(GuestMsg::Configured { error: None, unusable: Vec::new() }),
        },
        HostMsg::Run { request } => run(state, request),
        HostMsg::PutFile { stream, dest, mode, size } => {
            if state.open(stream, Some(size)) {
                state.events.push_back(Notice::PutFile { id: id(stream), dest, mode, size });
            } else {
                state.say(GuestMsg::FileDone { stream, error: Some(too_many()) });
            }
        }
        HostMsg::GetFile { stream, path, last } => {
            if state.open(stream, Some(0)) {
                state.events.push_back(Notice::GetFile { id: id(stream), path, last });
            } else {
                state.say(GuestMsg::FileDone { stream, error: Some(too_many()) });
            }
        }
        HostMsg::Exec { stream, request } => {
            if state.open(stream, None) {
                state.events.push_back(Notice::Exec { id: id(stream), request });
            } else {
                state.say(GuestMsg::ExecExited { stream, exit: Exit::Unstartable(too_many()) });
            }
        }
        HostMsg::Resize { stream, size } => {
            if let Some(stream) = state.streams.get_mut(&stream) {
                stream.resize(size);
            }
        }
        HostMsg::Eof { stream } => {
            if let Some(stream) = state.streams.get_mut(&stream) {
                stream.end_input();
            }
        }
        HostMsg::Reset { stream } => {
            state.streams.remove(&stream);
        }
        HostMsg::Signal { signal } => state.events.push_back(Notice::Signal(signal)),
        HostMsg::Ping { unix_nanos } => {
            state.say(GuestMsg::Pong);
            if let Some(unix_nanos) = unix_nanos {
                // Of several that nobody has heeded yet, only the last one is right.
                state.events.retain(|notice| !matches!(notice, Notice::Clock { .. }));
                state.events.push_back(Notice::Clock { unix_nanos });
            }
        }
        HostMsg::PowerOff => state.events.push_back(Notice::PowerOff),
    }
}

fn too_many() -> String {
    format!("more than {MAX_STREAMS} file copies and execs at once, or one with this number is open")
}

fn run(state: &mut State, request: RunRequest) {
    let known = match &state.job.phase {
        Phase::Configured => None,
        Phase::Starting { run } | Phase::Running { run, .. } | Phase::Exited { run, .. } => Some(run.clone()),
        Phase::Idle | Phase::Configuring => {
            let error = "the machine is not configured yet".to_owned();
            state.say(GuestMsg::Refused { run: request.run, error });
            return;
        }
    };
    match known {
        None => {
            state.job.phase = Phase::Starting { run: request.run.clone() };
            state.events.push_back(Notice::Run(request));
        }
        Some(run) if run == request.run => {
            if let Phase::Running { run, pid } = &state.job.phase {
                let started = GuestMsg::Started { run: run.clone(), pid: *pid };
                state.say(started);
            }
        }
        Some(run) => {
            let error = format!("this machine already had its one job, {run}");
            state.say(GuestMsg::Refused { run: request.run, error });
        }
    }
}
