//! One piece of work on a ready machine: files in, program, output, end, artifacts out.

use std::io;
use std::pin::pin;
use std::time::Duration;

use fireactions_guest_proto::host::{JobEvent, LinkError};
use fireactions_guest_proto::{Exit, GuestState, JobResult, RunRequest, Stream as GuestStream};
use fireactions_image::ImageConfig;
use fireactions_model::{
    ARTIFACT_NOTE, Artifact, Cancel, ExponentialBackoff, ForgeError, MachineState, Outcome, Output, Phase,
    PhaseTimes, PoolSpec, Report, Stream, Usage, Work, WorkFile, WorkSource,
};
use fireactions_vmm::{ExitCause, ExitReason};
use futures::FutureExt;
use tokio::time::{Instant, sleep_until, timeout};

use crate::artifacts;
use crate::asks::Asks;
use crate::end::End;
use crate::guest::Guest;
use crate::metadata;
use crate::parts::Parts;
use crate::program::{self, resolve};
use crate::record::Record;
use crate::service_logs;

/// Asked to end, a program has this long before it is killed.
const TERM_GRACE: Duration = Duration::from_secs(5);
/// Killed, a guest has this long to say so before its machine is.
const KILL_GRACE: Duration = Duration::from_secs(5);
/// The same where nobody waits for the guest's last words.
const OVER_GRACE: Duration = Duration::from_secs(1);
/// Slowest transfer of files that is waited for: 1 MiB/s.
const SLOWEST_TRANSFER: u64 = 1024 * 1024;

/// Tries at keeping a piece of output.
const OUTPUT_TRIES: u32 = 5;
/// A forge hears that work runs within this, or is told again.
const STARTED_DEADLINE: Duration = Duration::from_secs(30);
/// Once the work has ended, it has this long to hear that it ran.
const STARTED_GRACE: Duration = Duration::from_secs(2);
/// A guest that ended its job while no server was there has this long to hand over what is left of its output.
const HAND_OVER: Duration = Duration::from_secs(600);

/// How work ended.
pub(crate) struct Done {
    pub(crate) outcome: Outcome,
    pub(crate) usage: Usage,
    pub(crate) notes: Vec<String>,
}

/// What the guest said about the end, or what was decided without it.
struct Ended {
    outcome: Outcome,
    usage: Usage,
    notes: Vec<String>,
    /// How long the program ran, by the guest's clock.
    ran: Option<Duration>,
}

impl From<Outcome> for Ended {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, usage: Usage::default(), notes: vec![], ran: None }
    }
}

impl From<Ended> for Done {
    fn from(Ended { outcome, usage, notes, .. }: Ended) -> Self {
        Self { outcome, usage, notes }
    }
}

/// Where the guest stands with this work when it is taken up.
enum WorkState {
    /// It has not begun.
    Fresh,
    /// An earlier server started it.
    Runs,
    /// It ended, like this, while no server was there.
    Over(JobResult),
}

/// What is left of the work to be followed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    /// The program.
    Program,
    /// The output of one that has ended.
    Output,
}

/// Work on a guest.
#[derive(Clone, Copy)]
pub(crate) struct Run<'a> {
    pub(crate) parts: &'a Parts,
    pub(crate) pool: &'a PoolSpec,
    pub(crate) guest: &'a Guest,
    pub(crate) image: &'a ImageConfig,
    pub(crate) work: &'a Work,
    /// How it ended, as an earlier server saw it.
    pub(crate) earlier: Option<&'a Report>,
}

impl Run<'_> {
    /// Does the work, or goes on with what an earlier server began. Whatever happens, there is an outcome to tell.
    pub(crate) async fn perform(self, record: &mut Record, asks: &mut Asks) -> Done {
        let Self { guest, work, .. } = self;
        let begun = record.view().state == MachineState::Busy || self.earlier.is_some();
        let state = match work_state(guest, work, begun).await {
            Ok(state) => state,
            Err(outcome) => return self.standing(outcome.into()).into(),
        };
        let fresh = matches!(state, WorkState::Fresh);
        let known = match state {
            WorkState::Over(result) => Some(self.standing(self.known(result, self.deadline(record)))),
            WorkState::Fresh | WorkState::Runs => None,
        };
        if let Some(Ended { outcome, usage, notes, .. }) = &known {
            record.ended(&self.so_far(outcome, *usage, record.phases(), notes)).await;
        }
        let ended = match self.start(record, asks, fresh).await {
            Ok(()) => {
                if !begun {
                    record.phase(Phase::Runner);
                }
                let left = if known.is_some() { Left::Output } else { Left::Program };
                let deadline = if fresh { Instant::now() + work.timeout } else { self.deadline(record) };
                self.follow_and_tell(asks, left, deadline).await
            }
            Err(outcome @ Outcome::Lost { .. }) if known.is_some() => outcome.into(),
            Err(outcome) => return self.standing(outcome.into()).into(),
        };
        let ended = match (known, &ended.outcome) {
            (Some(mut known), Outcome::Lost { reason }) => {
                known.notes.push(format!("the end of the output may be missing: {reason}"));
                known
            }
            _ => self.standing(ended),
        };
        let Ended { outcome, usage, mut notes, ran } = ended;
        match ran {
            // It may have been over for hours.
            Some(ran) if !fresh => {
                record.phase_took(Phase::Job, ran.min(record.busy_for()));
            }
            _ => record.phase(Phase::Job),
        }
        if !matches!(outcome, Outcome::Lost { .. }) {
            record.ended(&self.so_far(&outcome, usage, record.phases(), &notes)).await;
            fail::fail_point!("machine::ended");
            let wanted = outcome != Outcome::Cancelled;
            notes.extend(self.take_out(asks, wanted).await);
        }
        Done { outcome, usage, notes }
    }

    /// Puts the files in and starts the program, as far as that is still to be done.
    async fn start(self, record: &mut Record, asks: &mut Asks, fresh: bool) -> Result<(), Outcome> {
        let Self { parts, guest, image, work, .. } = self;
        let mut request = resolve(work, image).map_err(|reason| Outcome::Unstartable { reason })?;
        for (name, value) in &parts.settings.environment {
            if !request.env.iter().any(|(own, _)| own == name) {
                request.env.push((name.clone(), value.clone()));
            }
        }
        // An earlier server has asked for the run: the files are there, and the program may be starting.
        if fresh && !record.has_asked_for_run() {
            tokio::select! {
                prepared = self.prepare(record) => prepared?,
                reason = doomed(guest, asks) => return Err(lost(reason)),
                _ = parts.forge.cancelled(&work.job) => return Err(Outcome::Cancelled),
            }
        }
        // From here on the program may run, or have run: a cancellation asks it to end, and has no say in how it did.
        tokio::select! {
            ran = self.run(record, request) => ran,
            reason = doomed(guest, asks) => Err(lost(reason)),
        }
    }

    /// Everything before the program.
    async fn prepare(self, record: &mut Record) -> Result<(), Outcome> {
        let Self { parts, pool, guest, work, .. } = self;
        let unwritten = |end: End| lost(end.to_string());
        for file in work.files.iter().chain(&program::script(work)) {
            put_in(guest, pool.deadlines.online, file).await?;
            fail::fail_point!("machine::file-put");
        }
        if let Some(credential) = &work.metadata_credential {
            let full = metadata::with_credential(parts, pool, record.id(), credential).map_err(unwritten)?;
            if let Some(full) = full {
                metadata::deliver(&guest.vm, &full).await.map_err(unwritten)?;
            }
        }
        record.asks_for_run().await.map_err(unwritten)
    }

    /// Has the guest run it. For a run that the guest knows already, the answer is its current state.
    async fn run(self, record: &mut Record, request: RunRequest) -> Result<(), Outcome> {
        let Self { pool, guest, .. } = self;
        timeout(pool.deadlines.online, guest.link.run(request))
            .await
            .map_err(|_| {
                lost(format!("the guest did not start the program within {:?}", pool.deadlines.online))
            })?
            .map_err(|error| failed_in_guest("starting the program", error))?;
        fail::fail_point!("machine::run-asked");
        if record.view().state != MachineState::Busy {
            record.running().await;
        }
        Ok(())
    }

    /// What is told if nothing more comes of the machine.
    fn so_far(self, outcome: &Outcome, usage: Usage, phases: PhaseTimes, notes: &[String]) -> Report {
        let missing = |artifact: &Artifact| {
            format!(
                "{ARTIFACT_NOTE}{}: the machine was gone before all artifacts were copied out",
                artifact.path
            )
        };
        let notes = notes.iter().cloned().chain(self.work.artifacts.iter().map(missing)).collect();
        Report { outcome: outcome.clone(), usage, phases, notes, autopsy: None }
    }

    /// Takes the artifacts and the services' logs out, as long as the guest is there. Returns the notes. `wanted`: a
    /// cancellation that comes now ends it.
    async fn take_out(self, asks: &mut Asks, wanted: bool) -> Vec<String> {
        let Self { parts, pool, guest, work, .. } = self;
        let over = async {
            tokio::select! {
                why = doomed(guest, asks) => why,
                _ = parts.forge.cancelled(&work.job), if wanted => "the job was cancelled meanwhile".to_owned(),
            }
        };
        let over = over.shared();
        let max = parts.settings.artifact_max;
        let mut notes = artifacts::take_out(&work.artifacts, &guest.link, max, over.clone()).await;
        notes.extend(service_logs::keep(&pool.services, &guest.link, &parts.store, &work.job, over).await);
        notes
    }

    /// The end, where an earlier server saw one: it stands, whatever became of the guest since, and whatever was asked for.
    fn standing(self, ended: Ended) -> Ended {
        match self.earlier {
            Some(Report { outcome, usage, notes, .. }) if matches!(ended.outcome, Outcome::Lost { .. }) => {
                Ended { outcome: outcome.clone(), usage: *usage, notes: notes.clone(), ran: None }
            }
            Some(Report { outcome, .. }) => Ended { outcome: outcome.clone(), ..ended },
            None => ended,
        }
    }

    /// Until when a program may run that an earlier server began.
    fn deadline(self, record: &Record) -> Instant {
        Instant::now() + self.work.timeout.saturating_sub(record.busy_for())
    }

    /// What the guest says of an end that this server did not ask for. The server before may have, and have been gone
    /// before it came: of that, the guest knows only that it was asked.
    fn known(self, result: JobResult, deadline: Instant) -> Ended {
        let asked = result.asked;
        let ended = ended(result);
        let is_cancelled = self.parts.forge.cancelled(&self.work.job).now_or_never().is_some();
        let outcome = match asked {
            false => ended.outcome,
            true if !is_cancelled && Instant::now() >= deadline => Outcome::TimedOut,
            // Also where a forge let its runner go, and only the server before knew.
            true => Outcome::Cancelled,
        };
        Ended { outcome, ..ended }
    }

    /// Follows the program, and tells the forge beside it that it runs.
    async fn follow_and_tell(self, asks: &mut Asks, left: Left, deadline: Instant) -> Ended {
        let mut told = pin!(tell_started(self.parts, self.work, self.guest));
        let mut followed = pin!(self.follow(asks, left, deadline));
        tokio::select! {
            biased;
            () = &mut told => followed.await,
            ended = &mut followed => {
                // A program that ends at once ran all the same. Its forge hears of the end in any case.
                let _ = timeout(STARTED_GRACE, told).await;
                ended
            }
        }
    }

    /// The end of work whose guest is not there any more, for this reason. Where the image ends its guest when the work is done, the
    /// agent goes first, and the VMM with the last step of the guest's own shutdown.
    async fn guest_gone(self, asks: &mut Asks, reason: String) -> Ended {
        let Self { pool, guest, work, .. } = self;
        if !work.ends_with_guest {
            return lost(reason).into();
        }
        tokio::select! {
            biased;
            why = asks.killed() => lost(why).into(),
            exit = timeout(pool.deadlines.shutdown, guest.vm.exited()) => match exit {
                Ok(exit) if is_own_end(&exit) => {
                    let notes = vec!["the guest ended by itself, as its image does when the runner is done".to_owned()];
                    Ended { notes, ..Outcome::Exited { code: 0 }.into() }
                }
                _ => lost(reason).into(),
            },
        }
    }

    /// Passes output on until the program ends, is asked to end, or the machine is lost.
    async fn follow(self, asks: &mut Asks, left: Left, until: Instant) -> Ended {
        let Self { parts, guest, work, .. } = self;
        let mut ending: Option<Outcome> = None;
        let mut killed = false;
        let runs = left == Left::Program;
        let mut deadline = if runs { until } else { Instant::now() + HAND_OVER };
        loop {
            tokio::select! {
                event = guest.link.next_output() => match event {
                    Ok(JobEvent::Output { stream, data, offset }) => {
                        let stream = match stream {
                            GuestStream::Stdout => Stream::Stdout,
                            GuestStream::Stderr => Stream::Stderr,
                        };
                        let output = Output { offset, stream, data: data.to_vec() };
                        keep(parts, guest, work, &output).await;
                    }
                    Ok(JobEvent::Exited(result)) => {
                        return match ending {
                            Some(outcome) => Ended { outcome, ..ended(result) },
                            None => self.known(result, until),
                        };
                    }
                    Err(error) => {
                        let reason = format!("the agent link: {error}");
                        return match ending {
                            Some(outcome) => outcome.into(),
                            None => self.guest_gone(asks, reason).await,
                        };
                    }
                },
                reason = doomed(guest, asks) => {
                    return match ending {
                        Some(outcome) => outcome.into(),
                        None => self.guest_gone(asks, reason).await,
                    };
                }
                why = parts.forge.cancelled(&work.job), if runs && ending.is_none() => {
                    ending = Some(Outcome::Cancelled);
                    killed = why == Cancel::Over;
                    let (grace, signal) = if killed { (OVER_GRACE, SIGKILL) } else { (TERM_GRACE, SIGTERM) };
                    deadline = Instant::now() + grace;
                    interrupt(guest, signal).await;
                }
                () = sleep_until(deadline) => match (ending.take(), killed) {
                    _ if !runs => return lost(format!("the guest did not hand it over within {HAND_OVER:?}")).into(),
                    (None, _) => {
                        ending = Some(Outcome::TimedOut);
                        deadline = Instant::now() + TERM_GRACE;
                        interrupt(guest, SIGTERM).await;
                    }
                    (wanted, false) => {
                        ending = wanted;
                        killed = true;
                        deadline = Instant::now() + KILL_GRACE;
                        interrupt(guest, SIGKILL).await;
                    }
                    // The guest does not even say that it killed it: the VMM goes, and that ends it. The machine may be held.
                    (Some(outcome), true) => {
                        let notes = vec![unkilled(guest).await];
                        guest.vm.kill().await;
                        return Ended { notes, ..outcome.into() };
                    }
                },
            }
        }
    }
}

/// Whether a guest that has ended restarted or powered itself off.
fn is_own_end(exit: &ExitReason) -> bool {
    exit.cause == ExitCause::Code(0)
        && matches!(exit.shutdown.as_deref(), Some("guest-reset" | "guest-shutdown"))
}

/// Tells the forge that the work runs, until it has heard: what it keeps for the beginning, it forgets then.
async fn tell_started(parts: &Parts, work: &Work, guest: &Guest) {
    let mut pauses = ExponentialBackoff::new(Duration::from_millis(200), Duration::from_secs(30));
    loop {
        let told = timeout(STARTED_DEADLINE, parts.forge.started(&work.job, &guest.machine)).await;
        let error = match told {
            Ok(Ok(())) => return,
            Ok(Err(error @ ForgeError::Unavailable { .. })) => error.to_string(),
            Ok(Err(error)) => {
                tracing::warn!(job = %work.job, %error, "the forge does not want to know that the job runs");
                return;
            }
            Err(_) => format!("no answer within {STARTED_DEADLINE:?}"),
        };
        if pauses.failures() == 0 {
            tracing::warn!(job = %work.job, error, "the forge could not be told that the job runs, and is told again");
        }
        tokio::time::sleep(pauses.failed(rand::random())).await;
    }
}

/// What the guest says of this work. `begun`: it was running there, so a guest that knows nothing of it is not what it
/// was, and the work is never started again in the same machine.
async fn work_state(guest: &Guest, work: &Work, begun: bool) -> Result<WorkState, Outcome> {
    let (run, state) = match guest.link.hello().await {
        Ok(hello) => match hello.state {
            GuestState::Idle | GuestState::Configured if begun => {
                return Err(lost("the guest does not know the job that ran in it".to_owned()));
            }
            GuestState::Idle | GuestState::Configured => return Ok(WorkState::Fresh),
            GuestState::Running { run, .. } => (run, WorkState::Runs),
            GuestState::Exited { run, result, .. } => (run, WorkState::Over(result)),
        },
        Err(error) => return Err(lost(format!("the agent link: {error}"))),
    };
    if run == work.job.as_str() {
        Ok(state)
    } else {
        Err(lost(format!("the guest says that it runs '{run}', which it was never given")))
    }
}

async fn put_in(guest: &Guest, base: Duration, file: &WorkFile) -> Result<(), Outcome> {
    let unreadable = |e: io::Error| Outcome::Unstartable {
        reason: format!("input file for {} could not be read on the host: {e}", file.dest),
    };
    let late = |deadline| lost(format!("putting {} into the guest took over {deadline:?}", file.dest));
    let put = match &file.source {
        WorkSource::Host(path) => {
            let source = tokio::fs::File::open(path).await.map_err(unreadable)?;
            let size = source.metadata().await.map_err(unreadable)?.len();
            let deadline = base + Duration::from_secs(size / SLOWEST_TRANSFER);
            let put = guest.link.put_file(&file.dest, file.mode, size, source);
            timeout(deadline, put).await.map_err(|_| late(deadline))?
        }
        WorkSource::Secret(text) => {
            let bytes = text.expose().as_bytes();
            let put = guest.link.put_file(&file.dest, file.mode, bytes.len() as u64, bytes);
            timeout(base, put).await.map_err(|_| late(base))?
        }
    };
    put.map_err(|error| failed_in_guest(&format!("putting in {}", file.dest), error))
}

/// Why the guest may not have ended the program.
async fn unkilled(guest: &Guest) -> String {
    let told = "the guest did not end the program when it was told to";
    guest.vm.diagnose().await.map_or_else(|| told.to_owned(), |text| format!("{told}; {text}"))
}

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// Has a piece of output kept, with some patience: the guest forgets it when the next one is asked for.
async fn keep(parts: &Parts, guest: &Guest, work: &Work, output: &Output) {
    let mut pauses = ExponentialBackoff::new(Duration::from_millis(200), Duration::from_secs(1));
    loop {
        let error = match parts.forge.output(&work.job, &guest.machine, output.clone()).await {
            Ok(()) => return,
            Err(error) => error,
        };
        let pause = pauses.failed(rand::random());
        if !matches!(error, ForgeError::Unavailable { .. }) || pauses.failures() >= OUTPUT_TRIES {
            tracing::warn!(job = %work.job, %error, "a piece of output was not kept");
            return;
        }
        tokio::time::sleep(pause).await;
    }
}

async fn interrupt(guest: &Guest, signal: i32) {
    // No answer is needed: the deadline that runs is the answer.
    match timeout(Duration::from_secs(1), guest.link.signal(signal)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, signal, "the guest did not accept a signal"),
        Err(_) => tracing::debug!(signal, "the guest did not accept a signal within a second"),
    }
}

/// Returns when the machine can no longer finish: its VMM died, its agent died or broke the protocol, or the server
/// wants it dead.
async fn doomed(guest: &Guest, asks: &mut Asks) -> String {
    tokio::select! {
        exit = guest.vm.exited() => format!("the VMM process ended under the job: {exit}"),
        reason = guest.agent_lost() => reason,
        why = asks.killed() => why,
    }
}

fn lost(reason: String) -> Outcome {
    Outcome::Lost { reason }
}

fn failed_in_guest(doing: &str, error: LinkError) -> Outcome {
    match error {
        LinkError::Unstartable(reason) => Outcome::Unstartable { reason },
        LinkError::Guest(reason) => Outcome::Unstartable { reason: format!("{doing}: {reason}") },
        other => lost(format!("{doing}: {other}")),
    }
}

fn ended(result: JobResult) -> Ended {
    let usage = Usage {
        user_us: result.user_us,
        system_us: result.system_us,
        max_rss_kib: result.max_rss_kib,
        oom_kills: result.oom_kills,
    };
    let outcome = match result.exit {
        Exit::Code(code) => Outcome::Exited { code },
        Exit::Signal(signal) => Outcome::Signalled { signal },
        Exit::Unstartable(reason) => Outcome::Unstartable { reason },
    };
    let ran = (result.ran_us > 0).then(|| Duration::from_micros(result.ran_us));
    Ended { outcome, usage, notes: result.notes, ran }
}
