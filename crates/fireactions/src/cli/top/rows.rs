//! What the tables show, in text that is safe to be shown: names of jobs and what machines failed of come from anybody.

use std::collections::HashMap;

use fireactions_api::{LiveSnapshot, MachineUsage};
use fireactions_model::{JobRecord, JobState, MachineId, MachineState, MachineView, PoolView};
use jiff::Timestamp;

use crate::cli::{jobs, pools, ps, show};

/// Most characters of a cell; no terminal is that wide.
const CELL: usize = 400;

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    /// The pools.
    Pools,
    /// Jobs that are not over; those that wait come first.
    Jobs,
    /// The machines.
    Machines,
}

/// How a row is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it should be.
    Plain,
    /// Something works.
    Works,
    /// Something is waited for.
    Waits,
    /// Something is wrong.
    Bad,
    /// It is kept, or has nothing to do with work.
    Aside,
}

/// A row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// What it is about.
    pub(super) id: String,
    /// As many as the table has columns.
    pub(super) cells: Vec<String>,
    pub(super) tone: Tone,
}

impl Tab {
    pub(super) const ALL: [Self; 3] = [Self::Pools, Self::Jobs, Self::Machines];

    /// Its name, with what is in it.
    pub(super) fn title(self, known: &LiveSnapshot) -> String {
        match self {
            Self::Pools => format!("Pools {}", known.pools.len()),
            Self::Jobs => {
                let waiting = known.jobs.iter().filter(|job| job.state == JobState::Queued).count();
                let running = known.jobs.iter().filter(|job| is_active(job)).count() - waiting;
                format!("Jobs {running} running, {waiting} waiting")
            }
            Self::Machines => format!("Machines {}", known.machines.len()),
        }
    }

    /// Names of the columns.
    pub(super) fn header(self) -> &'static [&'static str] {
        match self {
            Self::Pools => &["POOL", "FROM", "BUSY", "READY", "START", "HELD", "MIN-MAX", "QUEUED", "STATUS"],
            Self::Jobs => &["JOB", "STATE", "FOR", "POOL", "NAME", "WAITS FOR"],
            Self::Machines => &["MACHINE", "STATE", "FOR", "POOL", "CPUS", "MEMORY", "JOB", "NOTE"],
        }
    }

    /// Everything in it.
    pub(super) fn rows(
        self,
        known: &LiveSnapshot,
        usage: &HashMap<MachineId, MachineUsage>,
        now: Timestamp,
    ) -> Vec<Row> {
        match self {
            Self::Pools => known.pools.iter().map(pool).collect(),
            Self::Jobs => {
                let mut active: Vec<&JobRecord> = known.jobs.iter().filter(|job| is_active(job)).collect();
                // Who has waited longest is first.
                active.sort_by_key(|job| (job.state != JobState::Queued, job.queued_at));
                active.into_iter().map(|one| job(one, now)).collect()
            }
            Self::Machines => {
                let titles: HashMap<_, _> = known.jobs.iter().map(|job| (&job.id, title(job))).collect();
                let row = |one: &MachineView| {
                    let title = one
                        .job
                        .as_ref()
                        .map(|job| titles.get(job).map_or_else(|| job.to_string(), Clone::clone));
                    machine(one, usage.get(&one.id), title, now)
                };
                known.machines.iter().map(row).collect()
            }
        }
    }

    /// All that is known of one of them.
    pub(super) fn detail(
        self,
        known: &LiveSnapshot,
        usage: &HashMap<MachineId, MachineUsage>,
        id: &str,
    ) -> Option<String> {
        Some(match self {
            Self::Pools => {
                let pool = known.pools.iter().find(|pool| pool.name().as_str() == id)?;
                pools::render_one(pool)
            }
            Self::Jobs => {
                let job = known.jobs.iter().find(|job| job.id.as_str() == id)?;
                jobs::one::render(job, None)
            }
            Self::Machines => {
                let machine = known.machines.iter().find(|machine| machine.id.as_str() == id)?;
                ps::render_one(machine, usage.get(&machine.id))
            }
        })
    }
}

/// Not over yet.
fn is_active(job: &JobRecord) -> bool {
    !job.state.is_final()
}

fn pool(pool: &PoolView) -> Row {
    let count = |states: &[MachineState]| {
        let counts = states.iter().filter_map(|state| pool.machines.get(state));
        counts.sum::<u32>().to_string()
    };
    let forge =
        pool.spec.forge.as_ref().map_or_else(|| "built-in".to_owned(), |forge| forge.name.to_string());
    let obstacle = pool.obstacle();
    let tone = if pool.problem.is_some() || pool.backoff.is_some() {
        Tone::Bad
    } else if pool.paused || pool.host_drained {
        Tone::Aside
    } else if pool.queued > 0 {
        Tone::Waits
    } else {
        Tone::Plain
    };
    row(
        pool.name().as_str(),
        tone,
        [
            pool.name().to_string(),
            forge,
            count(&[MachineState::Starting, MachineState::Busy]),
            count(&[MachineState::Ready]),
            count(&[MachineState::Creating, MachineState::Booting]),
            count(&[MachineState::Held]),
            format!("{}-{}", pool.min_runners, pool.max_runners),
            pool.queued.to_string(),
            obstacle.unwrap_or_else(|| "active".to_owned()),
        ],
    )
}

/// What people call it.
fn title(job: &JobRecord) -> String {
    let remote = job.remote.as_ref().and_then(fireactions_model::RemoteJob::title);
    remote.or_else(|| job.spec.name.clone()).unwrap_or_else(|| job.id.to_string())
}

fn job(job: &JobRecord, now: Timestamp) -> Row {
    let waits = job.state == JobState::Queued;
    let since = if waits { Some(job.queued_at) } else { job.started_at.or(job.assigned_at) };
    row(
        job.id.as_str(),
        if waits { Tone::Waits } else { Tone::Works },
        [
            job.id.to_string(),
            if job.cancel_requested { "cancelling".to_owned() } else { job.state.to_string() },
            since.map(|since| age(since, now)).unwrap_or_default(),
            job.pool.as_ref().map(ToString::to_string).unwrap_or_default(),
            title(job),
            job.waiting.as_ref().map(ToString::to_string).unwrap_or_default(),
        ],
    )
}

fn machine(machine: &MachineView, usage: Option<&MachineUsage>, job: Option<String>, now: Timestamp) -> Row {
    let tone = match machine.state {
        MachineState::Held => Tone::Aside,
        _ if machine.failure.is_some() => Tone::Bad,
        MachineState::Creating | MachineState::Booting => Tone::Waits,
        MachineState::Starting | MachineState::Busy => Tone::Works,
        MachineState::Ready | MachineState::Stopping => Tone::Plain,
    };
    row(
        machine.id.as_str(),
        tone,
        [
            machine.id.to_string(),
            machine.state.to_string(),
            age(machine.state_since, now),
            machine.pool.to_string(),
            ps::processors(machine, usage),
            ps::memory(machine, usage),
            job.unwrap_or_default(),
            ps::failure(machine).unwrap_or_default(),
        ],
    )
}

fn row<const N: usize>(id: &str, tone: Tone, cells: [String; N]) -> Row {
    Row { id: id.to_owned(), cells: cells.map(|cell| safe(&cell)).into(), tone }
}

/// Text of others, in one bounded line.
pub(super) fn safe(text: &str) -> String {
    let short: String = text.chars().take(CELL).collect();
    show::clean(&short)
}

/// How long ago, in one unit.
pub(super) fn age(since: Timestamp, now: Timestamp) -> String {
    show::span(std::time::Duration::try_from(now.duration_since(since)).unwrap_or_default())
}
