//! The job queue's durable transitions. Each is one transaction that checks the state it starts from, so that
//! two callers cannot both succeed.
//!
//! ```text
//!  insert ─▶ Queued ──bind──▶ Assigned ──start──▶ Running ──finish──▶ Succeeded | Failed | Cancelled
//!              │ ▲               │                   │                | TimedOut | Lost
//!              │ └───────────────┴── finish(Lost) ───┘ while attempts are left
//!              └── cancel ─▶ Cancelled
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fail::fail_point;
use fireactions_model::{
    ARTIFACT_NOTE, JobId, JobRecord, JobSpec, JobState, MachineId, Outcome, Phase, PhaseTimes, PoolName,
    Release, Report, RetryPolicy,
};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::db::{JobChange, JobObserver, Tx};
use crate::row::{collect, damaged, id, id_opt, json, json_opt, name, now, number, time, time_opt, to_json};
use crate::{Staging, Store, StoreError};

/// Which jobs to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobFilter {
    /// Only these states; all when empty.
    pub states: Vec<JobState>,
    /// At most this many, newest first; 0 = 1000, which is also the most.
    pub limit: u32,
    /// Only jobs submitted before this one: the last of the previous page.
    pub before: Option<JobId>,
}

/// The most jobs that one listing returns.
const PAGE: u32 = 1000;

/// The result of an attempt to bind a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// The job is the machine's, durably.
    Bound(Box<JobRecord>),
    /// The job is not queued any more.
    Taken,
    /// The machine may not have it: it is not `Standing::Free`.
    Refused(Standing),
}

/// A machine, as the queue knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It may get a job.
    Free,
    /// It has this one.
    Bound(Box<JobRecord>),
    /// It had one; there is no second.
    Used,
    /// It left without one.
    Released,
}

/// What the end of an attempt did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// The job is final now.
    Final(Box<JobRecord>),
    /// The job waits for its next attempt.
    Requeued(Box<JobRecord>),
    /// It had been told before; nothing changed.
    Repeated(Box<JobRecord>),
}

impl Finish {
    /// The job's current state.
    pub fn job(&self) -> &JobRecord {
        match self {
            Self::Final(job) | Self::Requeued(job) | Self::Repeated(job) => job,
        }
    }
}

/// A lock whose holder never panics, so a poisoned one is as good as any.
fn lock(files: &Mutex<Staging>) -> MutexGuard<'_, Staging> {
    files.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// Sets who hears of job changes, in place of an earlier one. It hears of every job that is not final first.
    pub async fn observe_jobs(&self, observer: JobObserver) -> Result<(), StoreError> {
        self.write(move |tx| {
            let mut query = tx.db.prepare_cached(
                "SELECT * FROM jobs WHERE state IN ('queued', 'assigned', 'running') ORDER BY seq",
            )?;
            tx.changes.extend(collect(query.query([])?, read_change)?);
            *tx.observer.lock().unwrap_or_else(PoisonError::into_inner) = Some(observer);
            Ok(())
        })
        .await
    }

    /// Puts a job with its input files at the end of the queue unless `max_queued` jobs wait already. Durable
    /// as a whole when it returns; before, or when the future is dropped early, there is all of it or nothing.
    pub async fn insert_job(
        &self,
        id: &JobId,
        spec: &JobSpec,
        mut files: Staging,
        max_queued: u32,
    ) -> Result<JobRecord, StoreError> {
        files.settle().await?;
        fail_point!("store::insert-staged");
        let (job, spec) = (id.clone(), to_json("spec", spec)?);
        // The call owns the files as long as it may still run; here they are seen again when nothing came of it.
        let files = Arc::new(Mutex::new(files));
        let (kept, id) = (Arc::clone(&files), job.clone());
        let inserted = self
            .write(move |mut tx| {
                let queued: u32 = tx
                    .db
                    .prepare_cached("SELECT count(*) FROM jobs WHERE state = 'queued'")?
                    .query_row([], |row| row.get(0))?;
                if queued >= max_queued {
                    return Err(StoreError::QueueFull(queued));
                }
                let added = tx
                    .db
                    .prepare_cached(
                        "INSERT INTO jobs (id, spec, state, queued_at) VALUES (?, ?, 'queued', ?)
                     ON CONFLICT (id) DO NOTHING",
                    )?
                    .execute(params![id.as_str(), spec, now()])?;
                if added == 0 {
                    return Err(StoreError::Exists(format!("job {id}")));
                }
                let record = tell(&mut tx, &id)?;
                // From here on they go only where the row is known to be absent.
                lock(&kept).keep(true);
                fail_point!("store::insert-before-commit");
                Ok(record)
            })
            .await
            .inspect(|_| fail_point!("store::insert-after-commit"));
        if let Err(error) = &inserted {
            self.discard(&job, files, error).await;
        }
        inserted
    }

    /// Removes the files of a job that was not inserted, and not on the writer's thread: there may be thousands. When nobody can
    /// say whether there is a row, they are left to the next start's sweep.
    async fn discard(&self, job: &JobId, files: Arc<Mutex<Staging>>, error: &StoreError) {
        if lock(&files).is_kept() {
            match self.job(job).await {
                Ok(None) => lock(&files).keep(false),
                Ok(Some(_)) => return,
                Err(unread) => {
                    tracing::warn!(%job, %error, %unread, "the files of a job that could not be stored stay until the next start");
                    return;
                }
            }
        }
        let _ = tokio::task::spawn_blocking(move || drop(files)).await;
    }

    /// One job.
    pub async fn job(&self, id: &JobId) -> Result<Option<JobRecord>, StoreError> {
        let id = id.clone();
        self.read(move |db| Ok(find(db, &id)?.map(|change| change.job))).await
    }

    /// Jobs, newest first.
    pub async fn jobs(&self, filter: JobFilter) -> Result<Vec<JobRecord>, StoreError> {
        self.read(move |db| {
            let states: Vec<&str> = filter.states.iter().map(|state| state.as_str()).collect();
            let limit = if filter.limit == 0 { PAGE } else { filter.limit.min(PAGE) };
            let mut query = db.prepare_cached(
                "SELECT * FROM jobs
                 WHERE (?1 = '[]' OR state IN (SELECT value FROM json_each(?1)))
                   AND (?2 IS NULL OR seq < (SELECT seq FROM jobs WHERE id = ?2))
                 ORDER BY seq DESC LIMIT ?3",
            )?;
            let rows = query.query(params![
                to_json("states", &states)?,
                filter.before.as_ref().map(JobId::as_str),
                limit
            ])?;
            collect(rows, |row| Ok(read_change(row)?.job))
        })
        .await
    }

    /// Waiting jobs in the order of the queue.
    pub async fn queued(&self) -> Result<Vec<JobRecord>, StoreError> {
        self.read(|db| {
            let mut query = db.prepare_cached("SELECT * FROM jobs WHERE state = 'queued' ORDER BY seq")?;
            collect(query.query([])?, |row| Ok(read_change(row)?.job))
        })
        .await
    }

    /// Jobs that a machine has now.
    pub async fn bound_jobs(&self) -> Result<Vec<JobRecord>, StoreError> {
        self.read(|db| {
            let mut query =
                db.prepare_cached("SELECT * FROM jobs WHERE state IN ('assigned', 'running') ORDER BY seq")?;
            collect(query.query([])?, |row| Ok(read_change(row)?.job))
        })
        .await
    }

    /// The job that this machine has now.
    pub async fn bound(&self, machine: &MachineId) -> Result<Option<JobRecord>, StoreError> {
        let machine = machine.clone();
        self.read(move |db| bound(db, &machine)).await
    }

    /// Whether this machine has a job, or may get one.
    pub async fn standing(&self, machine: &MachineId) -> Result<Standing, StoreError> {
        let machine = machine.clone();
        self.read(move |db| standing(db, &machine)).await
    }

    /// Binds a queued job to a machine that never had one and was not released.
    pub async fn bind(&self, job: &JobId, machine: &MachineId, pool: &PoolName) -> Result<Bind, StoreError> {
        let (job, machine, pool) = (job.clone(), machine.clone(), pool.clone());
        self.write(move |mut tx| {
            match standing(tx.db, &machine)? {
                Standing::Free => {}
                other => return Ok(Bind::Refused(other)),
            }
            let Some(JobChange { seq, job: record }) = find(tx.db, &job)? else { return Ok(Bind::Taken) };
            if record.state != JobState::Queued {
                return Ok(Bind::Taken);
            }
            let at = now();
            let waited = u64::try_from(at - record.queued_at.as_microsecond()).unwrap_or(0);
            let phases = PhaseTimes::from([(Phase::Queued, waited)]);
            let attempt = record.attempt + 1;
            tx.db
                .prepare_cached(
                    "UPDATE jobs SET state = 'assigned', attempt = ?2, machine = ?3, pool = ?4, phases = ?5,
                     assigned_at = ?6, started_at = NULL WHERE seq = ?1",
                )?
                .execute(params![
                    seq_column(seq)?,
                    attempt,
                    machine.as_str(),
                    pool.as_str(),
                    to_json("phases", &phases)?,
                    at
                ])?;
            tx.db
                .prepare_cached(
                    "INSERT INTO attempts (job, attempt, machine, pool, assigned_at) VALUES (?, ?, ?, ?, ?)",
                )?
                .execute(params![seq_column(seq)?, attempt, machine.as_str(), pool.as_str(), at])?;
            fail_point!("store::bind-before-commit");
            Ok(Bind::Bound(Box::new(tell(&mut tx, &job)?)))
        })
        .await
        .inspect(|_| fail_point!("store::bind-after-commit"))
    }

    /// The job's program runs. Repeating it changes nothing.
    pub async fn start_job(&self, job: &JobId, machine: &MachineId) -> Result<JobRecord, StoreError> {
        let (job, machine) = (job.clone(), machine.clone());
        self.write(move |mut tx| {
            let JobChange { seq, job: record } = get(tx.db, &job)?;
            let mine = record.machine.as_ref() == Some(&machine);
            match record.state {
                JobState::Running if mine => return Ok(record),
                JobState::Assigned if mine => {}
                _ => return Err(StoreError::NotBound { job, machine }),
            }
            let at = now();
            tx.db
                .prepare_cached(
                    "UPDATE jobs SET state = 'running', started_at = ?2, credential = NULL WHERE seq = ?1",
                )?
                .execute(params![seq_column(seq)?, at])?;
            tx.db
                .prepare_cached("UPDATE attempts SET started_at = ?2 WHERE machine = ?1")?
                .execute(params![machine.as_str(), at])?;
            fail_point!("store::start-before-commit");
            tell(&mut tx, &job)
        })
        .await
        .inspect(|_| fail_point!("store::start-after-commit"))
    }

    /// Adds the times of phases that ended after the job did (its machine's teardown). Nothing happens when the job
    /// has gone on to another machine, or is gone.
    pub async fn add_phases(
        &self,
        job: &JobId,
        machine: &MachineId,
        phases: &PhaseTimes,
    ) -> Result<(), StoreError> {
        let (job, machine, phases) = (job.clone(), machine.clone(), phases.clone());
        self.write(move |mut tx| {
            let Some(JobChange { seq, job: mut record }) = find(tx.db, &job)? else { return Ok(()) };
            if record.machine.as_ref() != Some(&machine) || !record.state.is_final() {
                return Ok(());
            }
            for (phase, micros) in phases {
                record.phases.entry(phase).or_insert(micros);
            }
            tx.db
                .prepare_cached("UPDATE jobs SET phases = ?2 WHERE seq = ?1")?
                .execute(params![seq_column(seq)?, to_json("phases", &record.phases)?])?;
            tell(&mut tx, &job).map(drop)
        })
        .await
    }

    /// Ends the machine's attempt at the job. A lost machine's job is queued again, in its old place, while
    /// `retry` leaves it attempts and nobody cancelled it. Repeating it changes nothing.
    pub async fn finish_job(
        &self,
        job: &JobId,
        machine: &MachineId,
        report: &Report,
        retry: RetryPolicy,
    ) -> Result<Finish, StoreError> {
        let (job, machine, report) = (job.clone(), machine.clone(), report.clone());
        self.write(move |mut tx| {
            let JobChange { seq, job: record } = get(tx.db, &job)?;
            let ended: Option<bool> = tx
                .db
                .prepare_cached("SELECT ended_at IS NOT NULL FROM attempts WHERE job = ? AND machine = ?")?
                .query_row(params![seq_column(seq)?, machine.as_str()], |row| row.get(0))
                .optional()?;
            match ended {
                None => return Err(StoreError::NotBound { job, machine }),
                Some(true) => return Ok(Finish::Repeated(Box::new(record))),
                Some(false) => {}
            }
            let at = now();
            let verdict = judge(&record, &report, retry);
            let requeued = verdict.state == JobState::Queued;
            // The wait was measured here, the rest there.
            let mut phases = report.phases.clone();
            phases.extend(record.phases.get(&Phase::Queued).map(|waited| (Phase::Queued, *waited)));
            let told = to_json("outcome", &report.outcome)?;
            // A cancelled job ended as cancelled, also when its machine died of it.
            let outcome = match verdict.state {
                JobState::Queued => None,
                JobState::Cancelled => Some(to_json("outcome", &Outcome::Cancelled)?),
                _ => Some(told.clone()),
            };
            tx.db
                .prepare_cached("UPDATE attempts SET ended_at = ?2, outcome = ?3 WHERE machine = ?1")?
                .execute(params![machine.as_str(), at, told])?;
            tx.db
                .prepare_cached(
                    "UPDATE jobs SET state = ?2, outcome = ?3, reason = ?4, usage = ?5, phases = ?6, notes = ?7,
                     autopsy = coalesce(?10, autopsy), finished_at = ?8, queued_at = coalesce(?9, queued_at),
                     credential = NULL,
                     assigned_at = iif(?9 IS NULL, assigned_at, NULL),
                     started_at = iif(?9 IS NULL, started_at, NULL) WHERE seq = ?1",
                )?
                .execute(params![
                    seq_column(seq)?,
                    verdict.state.as_str(),
                    outcome,
                    verdict.reason,
                    to_json("usage", &report.usage)?,
                    to_json("phases", &phases)?,
                    to_json("notes", &report.notes)?,
                    (!requeued).then_some(at),
                    requeued.then_some(at),
                    report.autopsy.as_ref().map(|autopsy| to_json("autopsy", autopsy)).transpose()?,
                ])?;
            let record = Box::new(tell(&mut tx, &job)?);
            fail_point!("store::finish-before-commit");
            Ok(if requeued { Finish::Requeued(record) } else { Finish::Final(record) })
        })
        .await
        .inspect(|_| fail_point!("store::finish-after-commit"))
    }

    /// Cancels a job: a queued one is final at once, one with a machine is marked for it, a final one stays.
    pub async fn request_cancel(&self, job: &JobId, why: &str) -> Result<JobRecord, StoreError> {
        let (job, why) = (job.clone(), why.to_owned());
        self.write(move |mut tx| {
            let JobChange { seq, job: record } = get(tx.db, &job)?;
            if record.state.is_final() || record.cancel_requested {
                return Ok(record);
            }
            let seq = seq_column(seq)?;
            if record.state == JobState::Queued {
                let at = now();
                let waited = u64::try_from(at - record.queued_at.as_microsecond()).unwrap_or(0);
                tx.db
                    .prepare_cached(
                        "UPDATE jobs SET state = 'cancelled', cancel_requested = 1, outcome = ?2, reason = ?3,
                         phases = ?4, finished_at = ?5 WHERE seq = ?1",
                    )?
                    .execute(params![
                        seq,
                        to_json("outcome", &Outcome::Cancelled)?,
                        why,
                        to_json("phases", &PhaseTimes::from([(Phase::Queued, waited)]))?,
                        at
                    ])?;
            } else {
                tx.db
                    .prepare_cached("UPDATE jobs SET cancel_requested = 1, reason = ?2 WHERE seq = ?1")?
                    .execute(params![seq, why])?;
            }
            fail_point!("store::cancel-before-commit");
            tell(&mut tx, &job)
        })
        .await
        .inspect(|_| fail_point!("store::cancel-after-commit"))
    }

    /// The machine leaves: when no job is bound to it, none ever will be.
    pub async fn release_machine(&self, machine: &MachineId) -> Result<Release, StoreError> {
        let machine = machine.clone();
        self.write(move |tx| {
            if let Some(job) = bound(tx.db, &machine)? {
                return Ok(Release::Bound(job.id));
            }
            tx.db
                .prepare_cached("INSERT OR IGNORE INTO released (machine, at) VALUES (?, ?)")?
                .execute(params![machine.as_str(), now()])?;
            Ok(Release::Idle)
        })
        .await
    }

    /// Forgets final jobs that ended before `before`, and the oldest of those above `keep` in number, with
    /// their files; at most 500 a call. A job whose machine still has a row stays.
    pub async fn purge_jobs(&self, before: Timestamp, keep: u32) -> Result<Vec<JobId>, StoreError> {
        let gone = self
            .write(move |tx| {
                let before = before.as_microsecond();
                let mut query = tx.db.prepare_cached(
                    "DELETE FROM jobs WHERE seq IN (
                         SELECT seq FROM jobs WHERE finished_at IS NOT NULL
                           AND (finished_at < ?1 OR seq NOT IN (
                               SELECT seq FROM jobs WHERE finished_at IS NOT NULL
                               ORDER BY finished_at DESC, seq DESC LIMIT ?2))
                           AND (machine IS NULL OR machine NOT IN (SELECT id FROM machines))
                         ORDER BY seq LIMIT 500) RETURNING id",
                )?;
                let gone = collect(query.query(params![before, keep])?, |row| id::<JobId>(row, "id"))?;
                tx.db.execute(
                    "DELETE FROM released WHERE at < ? AND machine NOT IN (SELECT id FROM machines)",
                    [before],
                )?;
                Ok(gone)
            })
            .await?;
        fail_point!("store::offline-purge-between");
        self.remove_job_files(gone.clone()).await?;
        Ok(gone)
    }
}

struct Verdict {
    state: JobState,
    reason: Option<String>,
}

fn judge(record: &JobRecord, report: &Report, retry: RetryPolicy) -> Verdict {
    // A hosted forge queues its jobs again by itself, and a runner's credential is good for one machine.
    let attempts = if record.remote.is_some() { 1 } else { retry.attempts.max(1) };
    let attempt = record.attempt;
    let (state, mut reason) = match &report.outcome {
        Outcome::Exited { code: 0 } => (JobState::Succeeded, None),
        Outcome::Exited { code } => {
            (JobState::Failed, Some(format!("the program returned exit code {code}")))
        }
        Outcome::Signalled { signal } => {
            (JobState::Failed, Some(format!("signal {signal} ended the program")))
        }
        Outcome::Unstartable { reason } => (JobState::Failed, Some(reason.clone())),
        Outcome::TimedOut => (JobState::TimedOut, Some("the job was killed at its deadline".to_owned())),
        Outcome::Cancelled => {
            (JobState::Cancelled, Some(record.reason.clone().unwrap_or_else(|| "cancelled".to_owned())))
        }
        Outcome::Lost { reason } if record.cancel_requested => {
            (JobState::Cancelled, Some(format!("cancelled; its machine was lost meanwhile: {reason}")))
        }
        Outcome::Lost { reason } if attempt < attempts => {
            let next = attempt + 1;
            let reason =
                format!("attempt {attempt} was lost: {reason}; queued for attempt {next} of {attempts}");
            (JobState::Queued, Some(reason))
        }
        Outcome::Lost { reason } => {
            (JobState::Lost, Some(format!("attempt {attempt} of {attempts} was lost: {reason}")))
        }
    };
    if let Some(reason) = reason.as_mut().filter(|_| matches!(state, JobState::Failed | JobState::TimedOut)) {
        for note in report.notes.iter().filter(|note| !note.starts_with(ARTIFACT_NOTE)) {
            reason.push_str("; ");
            reason.push_str(note);
        }
    }
    Verdict { state, reason }
}

pub(crate) fn seq_column(seq: u64) -> Result<i64, StoreError> {
    i64::try_from(seq).map_err(|error| damaged("seq", &error))
}

/// Reads the changed job and has the observer told after the commit.
pub(crate) fn tell(tx: &mut Tx<'_>, id: &JobId) -> Result<JobRecord, StoreError> {
    let change = get(tx.db, id)?;
    tx.changes.push(change.clone());
    Ok(change.job)
}

fn bound(db: &Connection, machine: &MachineId) -> Result<Option<JobRecord>, StoreError> {
    db.prepare_cached(
        "SELECT jobs.* FROM jobs JOIN attempts ON attempts.job = jobs.seq
         WHERE attempts.machine = ? AND attempts.ended_at IS NULL",
    )?
    .query_row([machine.as_str()], |row| Ok(read_change(row)))
    .optional()?
    .map(|change| Ok(change?.job))
    .transpose()
}

pub(crate) fn standing(db: &Connection, machine: &MachineId) -> Result<Standing, StoreError> {
    if let Some(job) = bound(db, machine)? {
        return Ok(Standing::Bound(Box::new(job)));
    }
    let (used, released) = db
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM attempts WHERE machine = ?1),
                    EXISTS (SELECT 1 FROM released WHERE machine = ?1)",
        )?
        .query_row([machine.as_str()], |row| Ok((row.get::<_, bool>(0)?, row.get::<_, bool>(1)?)))?;
    Ok(match (used, released) {
        (true, _) => Standing::Used,
        (false, true) => Standing::Released,
        (false, false) => Standing::Free,
    })
}

pub(crate) fn find(db: &Connection, id: &JobId) -> Result<Option<JobChange>, StoreError> {
    db.prepare_cached("SELECT * FROM jobs WHERE id = ?")?
        .query_row([id.as_str()], |row| Ok(read_change(row)))
        .optional()?
        .transpose()
}

pub(crate) fn get(db: &Connection, id: &JobId) -> Result<JobChange, StoreError> {
    find(db, id)?.ok_or_else(|| StoreError::NoJob(id.clone()))
}

pub(crate) fn read_change(row: &Row<'_>) -> Result<JobChange, StoreError> {
    Ok(JobChange {
        seq: number(row, "seq")?,
        job: JobRecord {
            id: id(row, "id")?,
            spec: json(row, "spec")?,
            state: name(row, "state")?,
            attempt: number(row, "attempt")?,
            pool: id_opt(row, "pool")?,
            machine: id_opt(row, "machine")?,
            cancel_requested: row.get("cancel_requested")?,
            outcome: json_opt(row, "outcome")?,
            reason: row.get("reason")?,
            waiting: None,
            autopsy: json_opt(row, "autopsy")?,
            remote: json_opt(row, "remote")?,
            usage: json(row, "usage")?,
            phases: json(row, "phases")?,
            notes: json(row, "notes")?,
            queued_at: time(row, "queued_at")?,
            assigned_at: time_opt(row, "assigned_at")?,
            started_at: time_opt(row, "started_at")?,
            finished_at: time_opt(row, "finished_at")?,
        },
    })
}
