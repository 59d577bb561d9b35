//! Which jobs have ended, from the events.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fireactions_model::{Event, JobId, JobRecord, MachineId, MachineView, Phase};
use jiff::Timestamp;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::exporter::Exporter;
use crate::mark::Mark;
use crate::trace::Trace;

/// How long a job's trace waits for its machine's teardown. A machine that is held stays for longer.
const TEARDOWN: Duration = Duration::from_secs(30);
/// How often is looked for those that have waited for long enough.
const LOOK: Duration = Duration::from_secs(5);
/// For one question about stored jobs.
const QUESTION: Duration = Duration::from_secs(10);
/// Jobs that are remembered, so that a late word about one is not a second trace.
const REMEMBERED: usize = 4096;

/// What the server knows of its jobs.
#[async_trait]
pub trait Jobs: Send + Sync + 'static {
    /// A job as it is stored, if it is.
    async fn job(&self, id: &JobId) -> Option<JobRecord>;
    /// Stored jobs that ended later than this, as far as they are among the newest.
    async fn ended_after(&self, time: Timestamp) -> Vec<JobRecord>;
    /// The machines that are there.
    fn machines(&self) -> Vec<Arc<MachineView>>;
}

/// Makes traces of the jobs that end.
pub struct Follower<J> {
    jobs: J,
    exporter: Exporter,
    /// Ends when the exporter is dropped and all is sent.
    sending: JoinHandle<()>,
    mark: Mark,
    /// When machines were begun.
    created: HashMap<MachineId, Timestamp>,
    /// Jobs that have ended, and whose machines have not.
    ending: HashMap<JobId, Ending>,
    told: Told,
}

struct Ending {
    job: Box<JobRecord>,
    created: Option<Timestamp>,
    until: Instant,
}

/// The last jobs that were told.
#[derive(Default)]
struct Told {
    jobs: HashSet<JobId>,
    order: VecDeque<JobId>,
}

impl Told {
    fn add(&mut self, id: &JobId) {
        if self.jobs.insert(id.clone()) {
            self.order.push_back(id.clone());
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.jobs.remove(&oldest);
        }
    }
}

impl<J: Jobs> Follower<J> {
    /// `mark` is the file that says which jobs an earlier server has told.
    pub fn new(jobs: J, (exporter, sending): (Exporter, JoinHandle<()>), mark: PathBuf) -> Self {
        let (created, ending) = (HashMap::new(), HashMap::new());
        Self { jobs, exporter, sending, mark: Mark::read(mark), created, ending, told: Told::default() }
    }

    /// Follows the events until `stopping`, and then tells of what has ended.
    pub async fn run(mut self, mut events: broadcast::Receiver<Event>, stopping: CancellationToken) {
        match self.mark.at() {
            Some(time) => self.catch_up(time).await,
            // Of what ended before it was asked for, nobody is told.
            None => self.mark.told(Timestamp::now()),
        }
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                _ = look.tick() => {
                    self.tell_late(Instant::now()).await;
                    continue;
                }
                () = stopping.cancelled() => break,
            };
            match event {
                Ok(event) => self.event(event).await,
                Err(RecvError::Lagged(_)) => {
                    let since = self.mark.at().unwrap_or_else(Timestamp::now);
                    self.catch_up(since).await;
                }
                Err(RecvError::Closed) => break,
            }
        }
        for (_, ending) in std::mem::take(&mut self.ending) {
            self.tell(ending.job, ending.created).await;
        }
        let Self { exporter, sending, mut mark, .. } = self;
        let counts = exporter.counts().clone();
        drop(exporter);
        // Its patience is bounded. What was not sent, the next server tells.
        let _ = sending.await;
        if counts.none_stopped() {
            mark.write();
        }
    }

    /// What no event has said.
    async fn catch_up(&mut self, since: Timestamp) {
        let machines = self.jobs.machines();
        self.created = machines.iter().map(|machine| (machine.id.clone(), machine.created_at)).collect();
        let asked = timeout(QUESTION, self.jobs.ended_after(since));
        for job in asked.await.unwrap_or_default() {
            self.ended(Box::new(job)).await;
        }
    }

    async fn event(&mut self, event: Event) {
        match event {
            Event::Machine { machine } => {
                self.created.entry(machine.id.clone()).or_insert(machine.created_at);
            }
            Event::MachineGone { id, .. } => {
                self.created.remove(&id);
            }
            Event::Job { job } if job.state.is_final() => self.ended(job).await,
            _ => {}
        }
    }

    async fn ended(&mut self, job: Box<JobRecord>) {
        if self.told.jobs.contains(&job.id) {
            return;
        }
        let before = self.ending.remove(&job.id);
        let known = job.machine.as_ref().and_then(|machine| self.created.get(machine)).copied();
        let created = known.or(before.as_ref().and_then(|ending| ending.created));
        if job.machine.is_none() || job.phases.contains_key(&Phase::Teardown) {
            return self.tell(job, created).await;
        }
        let until = before.map_or_else(|| Instant::now() + TEARDOWN, |ending| ending.until);
        self.ending.insert(job.id.clone(), Ending { job, created, until });
    }

    async fn tell_late(&mut self, now: Instant) {
        let late: Vec<JobId> =
            self.ending.iter().filter(|(_, ending)| ending.until <= now).map(|(id, _)| id.clone()).collect();
        for id in late {
            if let Some(ending) = self.ending.remove(&id) {
                self.tell(ending.job, ending.created).await;
            }
        }
        // With one that waits, the next server must look for it.
        if self.ending.is_empty() && self.exporter.is_idle() {
            self.mark.write();
        }
    }

    async fn tell(&mut self, job: Box<JobRecord>, created: Option<Timestamp>) {
        // Events leave out who has caused a job.
        let stored = timeout(QUESTION, self.jobs.job(&job.id)).await.ok().flatten();
        let job = stored.filter(|stored| stored.state.is_final()).unwrap_or(*job);
        self.told.add(&job.id);
        self.mark.told(job.finished_at.unwrap_or_else(Timestamp::now));
        if let Some(trace) = Trace::of(&job, created) {
            self.exporter.tell(trace);
        }
    }
}
