//! Counters and the phase histogram: what only grows, from the event stream.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::SystemTime;

use fireactions_model::{Event, FailureKind, JobId, JobRecord, MachineId, MachineState, MachineView};
use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::PoolLabels;

/// Upper bounds of the phase histogram in seconds: a tap takes a millisecond, a job hours.
const BUCKETS: [f64; 20] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0,
    1800.0, 3600.0, 21600.0,
];
/// Final jobs that are remembered, so that a repeated event is not counted twice.
const REMEMBERED: usize = 4096;

/// How many of a pool's machines were begun, failed and went.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counted {
    pub(super) created: u64,
    pub(super) failed: u64,
    pub(super) gone: u64,
}

impl Counted {
    /// Of those that were begun, how many did not fail.
    pub(super) const fn succeeded(self) -> u64 {
        self.created.saturating_sub(self.failed)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabels {
    pool: String,
    phase: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StartLabels {
    pool: String,
    how: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabels {
    pool: String,
    state: &'static str,
}

/// What was counted of a machine.
#[derive(Default)]
struct Known {
    failure: bool,
    ready: bool,
}

/// Of one job, which stands beside the bucket that it fell into.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobExemplar {
    trace_id: String,
    job_id: String,
}

type Starts =
    Family<PoolLabels, HistogramWithExemplars<JobExemplar>, fn() -> HistogramWithExemplars<JobExemplar>>;

/// Names of the histograms that have exemplars.
const WITH_EXEMPLARS: [&str; 2] = ["fireactions_job_pickup_seconds", "fireactions_job_start_seconds"];

/// The text without exemplars, for a scraper that does not know them.
pub(super) fn without_exemplars(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        // Names of pools have no '#' in them.
        let exemplar =
            WITH_EXEMPLARS.iter().find(|name| line.starts_with(**name)).and_then(|_| line.find(" # {"));
        match exemplar {
            Some(at) => {
                plain.push_str(&line[..at]);
                plain.push('\n');
            }
            None => plain.push_str(line),
        }
    }
    plain
}

/// Counts events.
pub(super) struct Counts {
    phases: Family<PhaseLabels, Histogram, fn() -> Histogram>,
    picked_up: Starts,
    started: Starts,
    created: Family<PoolLabels, Counter>,
    failed: Family<PoolLabels, Counter>,
    gone: Family<PoolLabels, Counter>,
    starts: Family<StartLabels, Counter>,
    fallbacks: Family<PoolLabels, Counter>,
    finished: Family<JobLabels, Counter>,
    retried: Family<PoolLabels, Counter>,
    missed: Counter,
    /// From a machine's beginning until it was ready.
    pub(super) readied: Family<PoolLabels, Histogram, fn() -> Histogram>,
    /// What was before has been counted by the server before: its machines and jobs go on, and begin no second time.
    since: Timestamp,
    /// Live machines.
    machines: HashMap<MachineId, Known>,
    final_jobs: HashSet<JobId>,
    order: VecDeque<JobId>,
    attempts: HashMap<JobId, u32>,
    /// The attempt of a job whose start was counted.
    starts_of: HashMap<JobId, u32>,
}

impl Counts {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let phases: Family<_, _, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(BUCKETS));
        let starts: fn() -> Starts =
            || Family::new_with_constructor(|| HistogramWithExemplars::new(BUCKETS.into_iter()));
        let (picked_up, started) = (starts(), starts());
        let readied: Family<_, _, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(BUCKETS));
        let counts = Self {
            phases,
            picked_up,
            started,
            readied,
            created: Family::default(),
            failed: Family::default(),
            gone: Family::default(),
            starts: Family::default(),
            fallbacks: Family::default(),
            finished: Family::default(),
            retried: Family::default(),
            missed: Counter::default(),
            since: Timestamp::now(),
            machines: HashMap::new(),
            final_jobs: HashSet::new(),
            order: VecDeque::new(),
            attempts: HashMap::new(),
            starts_of: HashMap::new(),
        };
        registry.register("fireactions_phase_seconds", "Time in each phase of a job", counts.phases.clone());
        registry.register(
            WITH_EXEMPLARS[0],
            "Time from when a hosted forge queued a job until one of our runners began it",
            counts.picked_up.clone(),
        );
        registry.register(
            WITH_EXEMPLARS[1],
            "Time from when a job was queued until it ran, of all forges",
            counts.started.clone(),
        );
        registry.register("fireactions_machines_created", "Machines begun", counts.created.clone());
        registry.register("fireactions_machines_failed", "Machines that failed", counts.failed.clone());
        registry.register(
            "fireactions_machine_ready_seconds",
            "Time from a machine's beginning until it was ready",
            counts.readied.clone(),
        );
        registry.register("fireactions_machines_gone", "Machines removed", counts.gone.clone());
        registry.register(
            "fireactions_machine_starts",
            "Machines whose agent reported, by how they were started",
            counts.starts.clone(),
        );
        registry.register(
            "fireactions_machine_start_fallbacks",
            "Machines that booted because their template did not work",
            counts.fallbacks.clone(),
        );
        registry.register(
            "fireactions_jobs_finished",
            "Jobs that became final, by result",
            counts.finished.clone(),
        );
        registry.register(
            "fireactions_jobs_retried",
            "Starts of a job after its first",
            counts.retried.clone(),
        );
        registry.register(
            "fireactions_metrics_events_missed",
            "Events that came too fast to be counted",
            counts.missed.clone(),
        );
        counts
    }

    pub(super) fn missed(&self, events: u64) {
        self.missed.inc_by(events);
    }

    /// What was counted of a pool's machines.
    pub(super) fn of_pool(&self, pool: &str) -> Counted {
        let labels = PoolLabels { pool: pool.to_owned() };
        let of = |family: &Family<PoolLabels, Counter>| family.get(&labels).map_or(0, |count| count.get());
        Counted { created: of(&self.created), failed: of(&self.failed), gone: of(&self.gone) }
    }

    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::Phase { pool, phase, micros } => {
                let labels = PhaseLabels { pool: pool.to_string(), phase: phase.as_str() };
                #[expect(clippy::cast_precision_loss, reason = "285 years of microseconds are exact")]
                self.phases.get_or_create(&labels).observe(*micros as f64 / 1e6);
            }
            Event::Machine { machine } => self.machine(machine),
            Event::MachineGone { id, pool } => {
                self.machines.remove(id);
                self.gone.get_or_create(&PoolLabels { pool: pool.to_string() }).inc();
            }
            Event::Job { job } => self.job(job),
            Event::Started { pool, how, fallback } => {
                let pool = pool.to_string();
                if fallback.is_some() {
                    self.fallbacks.get_or_create(&PoolLabels { pool: pool.clone() }).inc();
                }
                self.starts.get_or_create(&StartLabels { pool, how: how.as_str() }).inc();
            }
            Event::PickedUp { job, pool, micros } => {
                #[expect(clippy::cast_precision_loss, reason = "285 years of microseconds are exact")]
                let seconds = *micros as f64 / 1e6;
                let labels = PoolLabels { pool: pool.to_string() };
                observe(&self.picked_up, &labels, seconds, job);
                observe(&self.started, &labels, seconds, job);
            }
            Event::Image { .. } => {}
        }
    }

    fn machine(&mut self, machine: &MachineView) {
        let labels = PoolLabels { pool: machine.pool.to_string() };
        let known = self.machines.entry(machine.id.clone()).or_insert_with(|| {
            if machine.created_at >= self.since {
                self.created.get_or_create(&labels).inc();
            }
            Known::default()
        });
        if machine.state == MachineState::Ready && !known.ready && machine.state_since >= self.since {
            known.ready = true;
            let took = machine.state_since.duration_since(machine.created_at).as_secs_f64();
            self.readied.get_or_create(&labels).observe(took.max(0.0));
        }
        // A machine that is held because its job failed did not fail itself.
        let failed = machine.failure.as_ref().is_some_and(|failure| failure.kind != FailureKind::Job);
        if failed && !known.failure {
            known.failure = true;
            self.failed.get_or_create(&labels).inc();
        }
    }

    fn job(&mut self, job: &JobRecord) {
        let pool = job.pool.as_ref().map(ToString::to_string).unwrap_or_default();
        if self.final_jobs.contains(&job.id) {
            return;
        }
        let counted = self.attempts.get(&job.id).copied().unwrap_or_else(|| {
            let assigned_before = job.assigned_at.is_none_or(|at| at < self.since);
            if assigned_before { job.attempt } else { job.attempt.saturating_sub(1) }.max(1)
        });
        if job.attempt > counted {
            let more = u64::from(job.attempt - counted);
            self.retried.get_or_create(&PoolLabels { pool: pool.clone() }).inc_by(more);
            self.attempts.insert(job.id.clone(), job.attempt);
        }
        self.job_start(job, &pool);
        if !job.state.is_final() {
            return;
        }
        self.starts_of.remove(&job.id);
        self.attempts.remove(&job.id);
        self.finished.get_or_create(&JobLabels { pool, state: job.state.as_str() }).inc();
        self.final_jobs.insert(job.id.clone());
        self.order.push_back(job.id.clone());
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.final_jobs.remove(&oldest);
        }
    }

    /// How long a job of the built-in queue waited until it ran. Of others their forge's word counts ([`Event::PickedUp`]).
    fn job_start(&mut self, job: &JobRecord, pool: &str) {
        let ours = |began: &Timestamp| job.remote.is_none() && *began >= self.since;
        let Some(began) = job.started_at.filter(ours) else { return };
        if self.starts_of.insert(job.id.clone(), job.attempt) == Some(job.attempt) {
            return;
        }
        let waited = began.duration_since(job.queued_at).as_secs_f64().max(0.0);
        observe(&self.started, &PoolLabels { pool: pool.to_owned() }, waited, &job.id);
    }
}

fn observe(starts: &Starts, labels: &PoolLabels, seconds: f64, job: &JobId) {
    let exemplar = JobExemplar { trace_id: job.trace_id().to_string(), job_id: job.to_string() };
    starts.get_or_create(labels).observe(seconds, Some(exemplar), Some(SystemTime::now()));
}
