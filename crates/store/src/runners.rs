//! Runners of hosted forges. Each is a job with one attempt, bound to its machine from its first moment: the forge's
//! own queue is before it, and which of the forge's jobs it gets is known late, if ever.
//!
//! ```text
//!  insert_runner ─▶ Assigned ── set_credential ── start_job ─▶ Running ── finish_job ─▶ final
//!   (name known)       the forge has registered it   the credential is forgotten
//! ```

use fail::fail_point;
use fireactions_model::{
    ForgeName, JobId, JobRecord, JobSpec, MachineId, Phase, PhaseTimes, PoolName, RemoteJob, Secret,
};
use rusqlite::{OptionalExtension, params};

use crate::jobs::{Bind, Standing, get, seq_column, standing, tell};
use crate::row::{now, to_json};
use crate::{Store, StoreError};

impl Store {
    /// Writes down that this machine is to be a runner, before the forge hears of it: with the name that it will have
    /// there, so that a crash leaves nothing without an owner. `remote.queued_at` counts as the start of the wait.
    pub async fn insert_runner(
        &self,
        id: &JobId,
        spec: &JobSpec,
        remote: &RemoteJob,
        machine: &MachineId,
        pool: &PoolName,
    ) -> Result<Bind, StoreError> {
        let (id, machine, pool) = (id.clone(), machine.clone(), pool.clone());
        let (spec, queued_at) = (to_json("spec", spec)?, remote.queued_at);
        let remote = to_json("remote", remote)?;
        self.write(move |mut tx| {
            match standing(tx.db, &machine)? {
                Standing::Free => {}
                other => return Ok(Bind::Refused(other)),
            }
            let at = now();
            // Another host's clock may be ahead.
            let queued_at = queued_at.map_or(at, |queued| queued.as_microsecond().min(at));
            let phases = PhaseTimes::from([(Phase::Queued, u64::try_from(at - queued_at).unwrap_or(0))]);
            let added = tx
                .db
                .prepare_cached(
                    "INSERT INTO jobs (id, spec, state, attempt, pool, machine, phases, queued_at, assigned_at, remote)
                     VALUES (?, ?, 'assigned', 1, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
                )?
                .execute(params![
                    id.as_str(),
                    spec,
                    pool.as_str(),
                    machine.as_str(),
                    to_json("phases", &phases)?,
                    queued_at,
                    at,
                    remote
                ])?;
            if added == 0 {
                return Err(StoreError::Exists(format!("job {id}")));
            }
            let seq = tx.db.last_insert_rowid();
            tx.db
                .prepare_cached(
                    "INSERT INTO attempts (job, attempt, machine, pool, assigned_at) VALUES (?, 1, ?, ?, ?)",
                )?
                .execute(params![seq, machine.as_str(), pool.as_str(), at])?;
            fail_point!("store::runner-before-commit");
            Ok(Bind::Bound(Box::new(tell(&mut tx, &id)?)))
        })
        .await
        .inspect(|_| fail_point!("store::runner-after-commit"))
    }

    /// Keeps the credential that the forge made for a runner, and its number there, until its program runs. Nothing
    /// happens when that is past.
    pub async fn set_credential(
        &self,
        job: &JobId,
        remote: &RemoteJob,
        credential: Secret,
    ) -> Result<(), StoreError> {
        let (job, remote) = (job.clone(), to_json("remote", remote)?);
        self.write(move |mut tx| {
            let changed = tx
                .db
                .prepare_cached(
                    "UPDATE jobs SET remote = ?2, credential = ?3 WHERE id = ?1 AND state = 'assigned'",
                )?
                .execute(params![job.as_str(), remote, credential.expose()])?;
            fail_point!("store::credential-before-commit");
            if changed > 0 { tell(&mut tx, &job).map(drop) } else { Ok(()) }
        })
        .await
        .inspect(|()| fail_point!("store::credential-after-commit"))
    }

    /// The credential of a runner whose program does not run yet.
    pub async fn credential(&self, job: &JobId) -> Result<Option<Secret>, StoreError> {
        let job = job.clone();
        self.read(move |db| {
            let text: Option<Option<String>> = db
                .prepare_cached("SELECT credential FROM jobs WHERE id = ?")?
                .query_row([job.as_str()], |row| row.get(0))
                .optional()?;
            Ok(text.flatten().map(Secret::new))
        })
        .await
    }

    /// Writes down what became known of a runner and its job. `change` gets what is known so far; nothing is written when
    /// it changes nothing, or when the job is not a runner's.
    pub async fn update_remote(
        &self,
        job: &JobId,
        change: impl FnOnce(&mut RemoteJob) + Send + 'static,
    ) -> Result<(), StoreError> {
        let job = job.clone();
        self.write(move |mut tx| {
            let found = get(tx.db, &job)?;
            let Some(before) = found.job.remote else { return Ok(()) };
            let mut remote = before.clone();
            change(&mut remote);
            if remote == before {
                return Ok(());
            }
            tx.db
                .prepare_cached("UPDATE jobs SET remote = ?2 WHERE seq = ?1")?
                .execute(params![seq_column(found.seq)?, to_json("remote", &remote)?])?;
            tell(&mut tx, &job).map(drop)
        })
        .await
    }

    /// Final runners that this forge may still have: to be deregistered. The longest-waiting thousand of them.
    pub async fn registered_runners(&self, forge: &ForgeName) -> Result<Vec<JobRecord>, StoreError> {
        let forge = forge.clone();
        self.read(move |db| {
            let mut query = db.prepare_cached(
                "SELECT * FROM jobs WHERE finished_at IS NOT NULL AND remote IS NOT NULL
                 AND NOT json_extract(remote, '$.deregistered') AND json_extract(remote, '$.forge') = ?
                 ORDER BY seq LIMIT 1000",
            )?;
            crate::row::collect(query.query([forge.as_str()])?, |row| Ok(crate::jobs::read_change(row)?.job))
        })
        .await
    }
}
