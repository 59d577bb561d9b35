//! A submitted job, watched to its end: its output, what it waits for, and Ctrl-C.

use std::mem::Discriminant;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use fireactions_api::Client;
use fireactions_model::{Event, ImageRef, JobId, JobRecord, JobState, MachineId, MachineState, WaitReason};
use futures::TryStreamExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::follow::{self, Sink};
use crate::cli::progress::Bar;
use crate::cli::show;

/// How long a cancellation on its way is waited for when the user leaves.
const LEAVING: Duration = Duration::from_secs(3);
/// Between two questions what the job waits for.
const ASK: Duration = Duration::from_secs(1);
/// Without a terminal, waits shorter than this are not worth a line.
const SHORT: Duration = Duration::from_secs(3);
/// Before events that ended are asked for again.
const AGAIN: Duration = Duration::from_millis(500);

/// How watching ended.
pub(crate) enum End {
    /// The job is final.
    Final(Box<JobRecord>),
    /// The user does not wait any longer.
    Detached(JobId),
}

/// Streams until the job is final. The first Ctrl-C (or SIGTERM) cancels the job, the second stops waiting for its end.
pub(crate) async fn to_the_end(client: &Client, job: JobRecord) -> anyhow::Result<End> {
    let id = job.id.clone();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let bar = Bar::new("");
    bar.say(&format!("{id}: queued"));
    let mut sink = Sink::default();
    // The first output ends the progress line, which would only get between.
    let following = follow::follow(client, &id, &mut sink, |_| bar.clear());
    let telling = tell(client, job, &bar);
    tokio::pin!(following, telling);
    let mut telling_ended = false;
    let mut cancelling = None;
    loop {
        tokio::select! {
            ended = &mut following => {
                bar.clear();
                return Ok(End::Final(Box::new(ended?)));
            }
            () = &mut telling, if !telling_ended => telling_ended = true,
            () = asked(&mut interrupt, &mut terminate) => match cancelling.take() {
                None => cancelling = Some(cancel(client, &id)),
                Some(request) => {
                    // Leaving must not take the request back that is still on its way.
                    let _ = tokio::time::timeout(LEAVING, request).await;
                    return Ok(End::Detached(id.clone()));
                }
            },
        }
    }
}

/// Returns when the user asks for the end.
async fn asked(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Cancels in a task of its own, so that output goes on meanwhile and a second Ctrl-C is heard.
fn cancel(client: &Client, id: &JobId) -> tokio::task::JoinHandle<()> {
    show::note(&format!("cancelling {id}; Ctrl-C again stops waiting for its end"));
    let (client, id) = (client.clone(), id.clone());
    tokio::spawn(async move {
        if let Err(error) = client.cancel(&id).await {
            show::note(&format!("{id} is not cancelled: {error}; try `fireactions jobs cancel {id}`"));
        }
    })
}

/// What only somebody else can change: worth a word also to those who do not wait.
pub(crate) fn needs_somebody(waiting: &WaitReason) -> bool {
    matches!(
        waiting,
        WaitReason::NoPool { .. }
            | WaitReason::Drained { .. }
            | WaitReason::Paused { .. }
            | WaitReason::TooLarge { .. }
            | WaitReason::BackingOff { .. }
    )
}

/// Says what the job waits for, until its program runs. Never an error: the output is what matters. A server that
/// restarts or hands over ends the events, which then go on at the next one.
async fn tell(client: &Client, job: JobRecord, bar: &Bar) {
    let mut teller = Teller { id: job.id.clone(), bar, machine: None, pulled: None, noted: None };
    let began = Instant::now();
    let mut queued = teller.job(&job, began).is_continue();
    loop {
        let Ok(mut events) = client.events().await else {
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        // Nothing tells a job that it waits for something else now, so it is asked for.
        let mut ask = tokio::time::interval(ASK);
        ask.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.try_next() => {
                    let Ok(Some(event)) = event else { break };
                    match event {
                        Event::Job { job } if job.id == teller.id => {
                            queued = job.state == JobState::Queued;
                            if teller.job(&job, began).is_break() {
                                return bar.clear();
                            }
                        }
                        other => teller.other(&other),
                    }
                }
                _ = ask.tick(), if queued => {
                    if let Ok(job) = client.job(&teller.id).await {
                        queued = job.state == JobState::Queued;
                        if teller.job(&job, began).is_break() {
                            return bar.clear();
                        }
                    }
                }
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// What was said so far.
struct Teller<'a> {
    id: JobId,
    bar: &'a Bar,
    /// The machine that has the job.
    machine: Option<MachineId>,
    /// The image that the job waits for, whose progress has a bar of its own.
    pulled: Option<ImageRef>,
    /// Without a terminal: the kind of waiting that was noted last.
    noted: Option<Discriminant<WaitReason>>,
}

impl Teller<'_> {
    /// Says how the job stands. Breaks when there is nothing more to say.
    fn job(&mut self, job: &JobRecord, began: Instant) -> ControlFlow<()> {
        self.machine.clone_from(&job.machine);
        match job.state {
            JobState::Queued => self.waits(job, began),
            JobState::Assigned => self.bar.say(&format!("{}: a machine has it", self.id)),
            _ => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    fn waits(&mut self, job: &JobRecord, began: Instant) {
        let id = &self.id;
        let before = self.pulled.take();
        if let Some(WaitReason::Image { image, .. }) = &job.waiting {
            self.pulled = Some(image.clone());
        }
        // What happened before, and what it waits for now.
        let parts = [job.reason.clone(), job.waiting.as_ref().map(ToString::to_string)];
        let why = parts.into_iter().flatten().collect::<Vec<_>>().join("; ");
        let why = if why.is_empty() { "waits for a machine".to_owned() } else { why };
        if self.pulled.is_none() || self.pulled != before {
            self.bar.say(&format!("{id}: queued, {why}"));
        }
        let Some(waiting) = job.waiting.as_ref().filter(|_| self.bar.is_hidden() && began.elapsed() >= SHORT)
        else {
            return;
        };
        // A log gets a line for each kind of waiting, not for each second.
        let kind = std::mem::discriminant(waiting);
        if self.noted != Some(kind) && !matches!(waiting, WaitReason::Turn { .. }) {
            self.noted = Some(kind);
            show::note(&format!("{id} is queued: {why}"));
        }
    }

    fn other(&self, event: &Event) {
        match event {
            Event::Machine { machine }
                if self.machine.as_ref() == Some(&machine.id) && machine.state == MachineState::Booting =>
            {
                self.bar.say(&format!("{}: {} boots", self.id, machine.id));
            }
            Event::Image { image, done, total, status }
                if self.pulled.as_ref().is_some_and(|pulled| pulled.as_str() == image) =>
            {
                self.bar.sized(&format!("{}: {status} {image}", self.id), *done, *total);
            }
            _ => {}
        }
    }
}
