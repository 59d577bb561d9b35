//! A job's trace, made of its record when it has ended. Pure.

use fireactions_model::{JobRecord, JobState, MachineId, Phase, TraceId};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::attributes::{self, Attributes, text};

/// The phases in which a machine is made.
const BOOT: [Phase; 5] = [Phase::Image, Phase::Net, Phase::Spawn, Phase::Kernel, Phase::Agent];

/// One job: its first span is the job, the others are its phases.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Its number.
    pub id: TraceId,
    /// When the job ended.
    pub ended: Timestamp,
    /// The job, then its phases in order.
    pub spans: Vec<Span>,
}

/// A stretch of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Its number.
    pub id: [u8; 8],
    /// The span that it is part of.
    pub parent: Option<[u8; 8]>,
    /// What happened.
    pub name: String,
    /// Nanoseconds since 1970.
    pub start: u64,
    /// Nanoseconds since 1970.
    pub end: u64,
    /// What is known of it.
    pub attributes: Attributes,
    /// A span of another trace that has caused this one.
    pub link: Option<Link>,
    /// How it ended; nothing where there is nothing to say.
    pub status: Option<Status>,
}

/// How what a span stands for has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Well.
    Ok,
    /// Not well: one line for people.
    Error(String),
}

/// A span of another trace, by W3C's `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its trace.
    pub trace: [u8; 16],
    /// Its number.
    pub span: [u8; 8],
}

impl Trace {
    /// The trace of a job that has ended. `created` is when its machine was begun, as far as it is known.
    ///
    /// Nothing for a job that has not ended, and for a forge's runner that went without a job.
    pub fn of(job: &JobRecord, created: Option<Timestamp>) -> Option<Self> {
        let ended = job.finished_at.filter(|_| job.state.is_final())?;
        if job.remote.as_ref().is_some_and(|remote| !remote.is_picked_up()) {
            return None;
        }
        let id = job.id.trace_id();
        let times = Times::of(job, ended);
        let root = span_id(id, "");
        let mut spans = vec![Span {
            id: root,
            parent: None,
            name: attributes::name(job),
            start: nanos(times.came),
            end: nanos(times.came.max(ended)),
            attributes: attributes::of(job),
            link: traceparent(job),
            status: Some(status(job)),
        }];
        let mut add = |phase: Phase, start: Timestamp, end: Timestamp, machine: Option<&MachineId>| {
            let machine = machine.map(|machine| ("fireactions.machine.id", text(machine.as_str())));
            spans.push(Span {
                id: span_id(id, phase.as_str()),
                parent: Some(root),
                name: phase.as_str().to_owned(),
                start: nanos(start),
                end: nanos(end.max(start)),
                attributes: [("fireactions.phase", text(phase.as_str()))]
                    .into_iter()
                    .chain(machine)
                    .collect(),
                link: None,
                status: None,
            });
        };
        let machine = job.machine.as_ref();
        add(Phase::Queued, times.came, times.taken, None);
        let mut waited = true;
        for (phase, start, end) in boot(job, created) {
            // A machine that was kept ready cost the job nothing.
            if end > times.came {
                add(phase, start, end, machine);
                waited = false;
            }
        }
        if let Some(assigned) = job.assigned_at {
            add(Phase::Runner, assigned, times.online(job, assigned), machine);
        }
        if let Some(started) = times.started {
            add(Phase::Job, started, ended, machine);
        }
        if let Some(took) = job.phases.get(&Phase::Teardown) {
            add(Phase::Teardown, ended, after(ended, *took), machine);
        }
        if machine.is_some() {
            spans[0].attributes.push(("fireactions.machine.was_ready", attributes::Value::Bool(waited)));
        }
        Some(Self { id, ended, spans })
    }
}

/// The moments of a job that has ended.
struct Times {
    /// At its forge, where it comes from one.
    came: Timestamp,
    /// It waited no more.
    taken: Timestamp,
    started: Option<Timestamp>,
    ended: Timestamp,
}

impl Times {
    fn of(job: &JobRecord, ended: Timestamp) -> Self {
        let remote = job.remote.as_ref();
        let picked_up = remote.and_then(|remote| remote.picked_up_at);
        let came = remote.and_then(|remote| remote.queued_at).or(picked_up).unwrap_or(job.queued_at);
        let started = if remote.is_some() { picked_up } else { job.started_at };
        let taken = if remote.is_some() { picked_up } else { job.assigned_at };
        Self { came, taken: taken.unwrap_or(ended), started, ended }
    }

    /// When the work ran; a forge's runner, when it was there for a job.
    fn online(&self, job: &JobRecord, assigned: Timestamp) -> Timestamp {
        let took = job.remote.as_ref().and_then(|_| job.phases.get(&Phase::Runner));
        let online = took.map(|took| after(assigned, *took)).or(job.started_at);
        online.unwrap_or(self.ended).min(self.ended)
    }
}

/// How its machine was made: from when it was begun, or, where that is not known, up to when it got the job.
fn boot(job: &JobRecord, created: Option<Timestamp>) -> Vec<(Phase, Timestamp, Timestamp)> {
    let known = || BOOT.iter().filter_map(|phase| Some((*phase, *job.phases.get(phase)?)));
    let whole = known().fold(0_u64, |sum, (_, took)| sum.saturating_add(took));
    let Some(mut at) = created.or_else(|| Some(before(job.assigned_at?, whole))) else { return Vec::new() };
    let mut spans = Vec::new();
    for (phase, took) in known() {
        let end = after(at, took);
        spans.push((phase, at, end));
        at = end;
    }
    spans
}

fn status(job: &JobRecord) -> Status {
    let failed = job.remote.as_ref().and_then(|remote| remote.conclusion.as_deref());
    match (job.state, failed) {
        (JobState::Succeeded, None | Some("success" | "neutral" | "skipped")) => Status::Ok,
        (state, conclusion) => {
            let why = job.reason.as_deref().or(conclusion).unwrap_or(state.as_str());
            Status::Error(attributes::bounded(why))
        }
    }
}

/// The span that the job's submitter has named, as programs in CI hand it on: `TRACEPARENT` in the environment.
fn traceparent(job: &JobRecord) -> Option<Link> {
    let (_, value) = job.spec.env.iter().find(|(name, _)| name.eq_ignore_ascii_case("traceparent"))?;
    let mut parts = value.trim().split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let rest = parts.next().is_some();
    if version.len() != 2 || version == "ff" || (version == "00" && rest) || flags.len() < 2 {
        return None;
    }
    let (trace, span) = (hex(trace)?, hex(span)?);
    // All zeros stand for none.
    (trace != [0; 16] && span != [0; 8]).then_some(Link { trace, span })
}

fn hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let lower = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    if digits.len() != 2 * N || !digits.as_bytes().iter().all(lower) {
        return None;
    }
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// A span's number follows from its trace's, as that one from the job's. The first span is that without a phase.
fn span_id(trace: TraceId, phase: &str) -> [u8; 8] {
    let hash = Sha256::new().chain_update(trace.bytes()).chain_update(phase).finalize();
    let mut id = [0; 8];
    id.copy_from_slice(&hash[..8]);
    id
}

fn nanos(at: Timestamp) -> u64 {
    u64::try_from(at.as_nanosecond().max(0)).unwrap_or(u64::MAX)
}

fn after(at: Timestamp, micros: u64) -> Timestamp {
    at.checked_add(std::time::Duration::from_micros(micros)).unwrap_or(Timestamp::MAX)
}

fn before(at: Timestamp, micros: u64) -> Timestamp {
    at.checked_sub(std::time::Duration::from_micros(micros)).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests;
