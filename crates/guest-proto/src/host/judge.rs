//! Judges every frame of a guest that may be hostile. A rule that is broken ends the link: an honest agent breaks
//! none, and a machine with a dishonest one has to go.

use super::flow::{End, Use};
use super::run_state::RunState;
use super::state::State;
use crate::frame::{self, Frame, Kind};
use crate::limits::{JOB_WINDOW, MAX_DISKS, MAX_NAME, MAX_NOTE, MAX_NOTES, STREAM_WINDOW};
use crate::text::{line, short_line};
use crate::{Exit, GuestHello, GuestMsg, GuestState, JobResult, LogLevel};

/// The rule that was broken, for people.
pub(super) type Fault = String;

/// Judges the first words of a session and takes over what they say.
pub(super) fn hello(state: &mut State, mut hello: GuestHello) -> Result<(), Fault> {
    for (what, text) in [("an agent version", &hello.agent_version), ("a kernel release", &hello.kernel)] {
        if text.len() > MAX_NAME || text.chars().any(char::is_control) {
            return Err(format!("{what} that is too long or has control characters"));
        }
    }
    let job = &mut state.job;
    let acked = match &mut hello.state {
        GuestState::Idle | GuestState::Configured => 0,
        GuestState::Running { run, acked, .. } => {
            name(run)?;
            *acked
        }
        GuestState::Exited { run, acked, end, result } => {
            name(run)?;
            tidy(result);
            if *acked > *end {
                return Err("more output acknowledged than there was".to_owned());
            }
            *acked
        }
    };
    let next = RunState::from(&hello.state);
    if !follows(&job.run, &next) {
        return Err("it went back to an earlier state, or changed its job or result".to_owned());
    }
    if !job.known {
        // The first session: whatever an earlier server acknowledged is over and done with.
        job.tail = crate::tail::Tail::at(acked);
        job.done = acked;
        job.known = true;
    }
    let received = job.tail.end();
    if acked > received {
        return Err("output is acknowledged that was never received".to_owned());
    }
    if let RunState::Exited { end, .. } = &next
        && *end < received
    {
        return Err("the output ends before what was received".to_owned());
    }
    job.run = next;
    job.position = acked;
    job.acked = acked;
    job.over = false;
    state.hello = Some(hello);
    Ok(())
}

/// Judges a frame inside a session and acts on it.
pub(super) fn frame(state: &mut State, frame: &Frame, machine: &str) -> Result<(), Fault> {
    match frame.kind {
        Kind::Control => {
            // serde_json stops at a depth of 128, and the frame bounds the rest.
            let message: GuestMsg = serde_json::from_slice(&frame.body)
                .map_err(|error| format!("a message that is not understood: {}", line(&error.to_string())))?;
            control(state, message, frame.body.len(), machine)
        }
        Kind::Data => data(state, frame),
        Kind::Job => output(state, frame),
        Kind::Credit => credit(state, frame),
    }
}

fn output(state: &mut State, frame: &Frame) -> Result<(), Fault> {
    let job = &mut state.job;
    let (Some((offset, data)), Some(stream)) = (frame.job(), frame::output(frame.channel)) else {
        return Err("malformed output".to_owned());
    };
    let limit = match &job.run {
        RunState::Idle | RunState::Configured => return Err("output before the job runs".to_owned()),
        RunState::Exited { .. } if job.over => return Err("output after the job's end".to_owned()),
        RunState::Exited { end, .. } => *end,
        RunState::Running { .. } => u64::MAX,
    };
    let received = job.tail.end();
    let end = offset.checked_add(data.len() as u64).ok_or("an absurd offset")?;
    // An acknowledgement of this session may make the guest skip what was received in an earlier one; it never
    // makes it go back, and never leaves a gap.
    if data.is_empty() || offset < job.position || offset > received {
        return Err("output out of order".to_owned());
    }
    if end > job.done.saturating_add(JOB_WINDOW) || end > limit {
        return Err("more output than the window allows".to_owned());
    }
    job.position = end;
    if end > received {
        let skip = usize::try_from(received - offset).map_err(|_| "an absurd offset")?;
        job.tail.push(stream, &data[skip..]);
    }
    Ok(())
}

fn data(state: &mut State, frame: &Frame) -> Result<(), Fault> {
    let len = frame.body.len() as u64;
    let opened = frame.stream > 0 && frame.stream < state.next_stream;
    let session = state.session;
    let open = state.streams.get_mut(&frame.stream).filter(|stream| stream.session == session);
    let which = frame::output(frame.channel);
    match (open, which) {
        _ if len == 0 => Err("an empty piece of a stream".to_owned()),
        (Some(stream), Some(which)) if stream.end.is_none() => {
            let allowed = match stream.carries {
                Use::Put => false,
                Use::Get => frame.channel == 1,
                Use::Exec => true,
            };
            // What was told, not what was consumed: the guest may only rely on the former, but being strict about
            // it would gain nothing.
            if !allowed || stream.tail.len() + len > STREAM_WINDOW {
                return Err("more on a stream than its window allows".to_owned());
            }
            stream.tail.push(which, &frame.body);
            Ok(())
        }
        // Closed on this side while bytes were under way.
        (_, Some(_)) if opened => {
            state.grace = state.grace.checked_sub(len).ok_or("bytes on a stream that is closed")?;
            Ok(())
        }
        _ => Err("bytes on a stream that was never opened".to_owned()),
    }
}

fn credit(state: &mut State, frame: &Frame) -> Result<(), Fault> {
    let consumed = frame.credit().ok_or("a malformed acknowledgement")?;
    let opened = frame.stream > 0 && frame.stream < state.next_stream;
    let session = state.session;
    let open = state.streams.get_mut(&frame.stream).filter(|stream| stream.session == session);
    match open {
        Some(stream) if consumed > stream.sent => Err("more acknowledged than was sent".to_owned()),
        // What we send bounds these.
        Some(stream) if consumed >= stream.credit + STREAM_WINDOW / 8 => {
            stream.credit = consumed;
            Ok(())
        }
        Some(stream) => {
            stream.credit = stream.credit.max(consumed);
            state.rate.charge(0)
        }
        None if opened => state.rate.charge(0),
        None => Err("an acknowledgement on a stream that was never opened".to_owned()),
    }
}

fn control(state: &mut State, message: GuestMsg, size: usize, machine: &str) -> Result<(), Fault> {
    match message {
        GuestMsg::Hello(_) => Err("a second hello".to_owned()),
        GuestMsg::Settled { error } => {
            state.rate.charge(size)?;
            state.settled = Some(error.map_or(Ok(()), |text| Err(line(&text))));
            Ok(())
        }
        GuestMsg::Released { error } => {
            state.rate.charge(size)?;
            state.released = Some(error.map_or(Ok(()), |text| Err(line(&text))));
            Ok(())
        }
        GuestMsg::Configured { error, mut unusable } => {
            state.rate.charge(size)?;
            if state.job.run != RunState::Idle {
                return Ok(()); // the answer to a question that was asked twice
            }
            if error.is_none() {
                state.job.run = RunState::Configured;
            }
            unusable.truncate(MAX_DISKS);
            for disk in &mut unusable {
                disk.why = short_line(&disk.why, MAX_NOTE);
            }
            state.unusable = unusable;
            state.configured = Some(error.map_or(Ok(()), |text| Err(line(&text))));
            Ok(())
        }
        GuestMsg::Started { run, pid: _ } => {
            state.rate.charge(size)?;
            name(&run)?;
            match &state.job.run {
                RunState::Configured => {
                    asked(state, &run)?;
                    state.job.run = RunState::Running { run };
                    Ok(())
                }
                RunState::Running { run: same } if *same == run => Ok(()),
                _ => Err("a job started out of order".to_owned()),
            }
        }
        GuestMsg::Refused { run, error } => {
            state.rate.charge(size)?;
            name(&run)?;
            asked(state, &run)?;
            state.job.refused = Some(line(&error));
            Ok(())
        }
        GuestMsg::Exited { run, end, mut result } => {
            name(&run)?;
            tidy(&mut result);
            let never_ran = matches!(result.exit, Exit::Unstartable(_));
            let next = RunState::Exited { run: run.clone(), result, end };
            let in_order = match &state.job.run {
                RunState::Idle => false,
                RunState::Configured => never_ran && asked(state, &run).is_ok(),
                RunState::Running { .. } | RunState::Exited { .. } => follows(&state.job.run, &next),
            };
            if !in_order || end != state.job.tail.end() {
                return Err("the job's end out of order, or not where its output ended".to_owned());
            }
            if state.job.over {
                return Err("a second end of the job".to_owned());
            }
            state.job.run = next;
            state.job.ended = true;
            state.job.over = true;
            Ok(())
        }
        GuestMsg::FileDone { stream, error } => {
            let end = End::File(error.map_or(Ok(()), |text| Err(line(&text))));
            finish(state, stream, end, |carries| carries != Use::Exec)
        }
        GuestMsg::ExecExited { stream, mut exit } => {
            tidy_exit(&mut exit);
            finish(state, stream, End::Exit(exit), |carries| carries == Use::Exec)
        }
        GuestMsg::Pong => state.rate.charge(size),
        GuestMsg::Log { level, text } => {
            state.rate.charge(size)?;
            let Some(dropped) = state.log_rate.keep() else { return Ok(()) };
            if dropped > 0 {
                tracing::warn!(machine, "agent: {dropped} lines are left out: there were too many");
            }
            let text = line(&text);
            match level {
                LogLevel::Debug => tracing::debug!(machine, "agent: {text}"),
                LogLevel::Info => tracing::info!(machine, "agent: {text}"),
                LogLevel::Warn => tracing::warn!(machine, "agent: {text}"),
            }
            Ok(())
        }
    }
}

fn finish(state: &mut State, id: u32, end: End, fits: fn(Use) -> bool) -> Result<(), Fault> {
    let session = state.session;
    let opened = id > 0 && id < state.next_stream;
    match state.streams.get_mut(&id).filter(|stream| stream.session == session) {
        Some(stream) if !fits(stream.carries) => Err("the wrong end of a stream".to_owned()),
        Some(stream) if stream.end.is_none() => {
            stream.end = Some(end);
            Ok(())
        }
        _ if opened => state.rate.charge(0),
        _ => Err("the end of a stream that was never opened".to_owned()),
    }
}

/// The run is the one that was asked for; a new link has asked for none yet.
fn asked(state: &State, run: &str) -> Result<(), Fault> {
    match &state.job.asked {
        Some(asked) if asked != run => Err("another job than the one that was asked for".to_owned()),
        _ => Ok(()),
    }
}

fn name(text: &str) -> Result<(), Fault> {
    if text.is_empty() || text.len() > MAX_NAME || text.chars().any(char::is_control) {
        return Err("a run's name that is empty, too long or has control characters".to_owned());
    }
    Ok(())
}

/// A state may be followed by itself and by later ones of the same run.
fn follows(before: &RunState, after: &RunState) -> bool {
    match (before, after) {
        (RunState::Idle, _) => true,
        (RunState::Configured, after) => *after != RunState::Idle,
        (RunState::Running { run }, RunState::Running { run: same } | RunState::Exited { run: same, .. }) => {
            run == same
        }
        (RunState::Exited { .. }, RunState::Exited { .. }) => before == after,
        _ => false,
    }
}

fn tidy(result: &mut JobResult) {
    tidy_exit(&mut result.exit);
    result.notes.truncate(MAX_NOTES);
    for note in &mut result.notes {
        *note = short_line(note, MAX_NOTE);
    }
    result.notes.retain(|note| !note.is_empty());
}

/// Texts for people lose their control characters; numbers are brought into their range.
fn tidy_exit(exit: &mut Exit) {
    match exit {
        Exit::Code(code) => *code = (*code).clamp(0, 255),
        Exit::Signal(signal) => *signal = (*signal).clamp(1, 64),
        Exit::Unstartable(text) => *text = line(text),
    }
}
