//! The forge as machines and pools see it.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use fireactions_model::{
    Cancel, Demand, DemandSource, ExponentialBackoff, Forge, ForgeError, JobId, JobRecord, MachineId, Offer,
    Outcome, Output, PhaseTimes, PoolName, PoolSpec, Release, Report, Stream, Verdict, Work,
};
use fireactions_store::{Standing, StoreError};
use tokio::time::sleep;

use super::board::{Stage, describe};
use super::remote::Missed;
use super::signs::Signs;
use super::{HostedForge, lock, of};
use crate::local::refused;
use crate::waiters::{Found, acquire};

/// How long a row may not be readable that says what the forge is to be asked.
const ROW: Duration = Duration::from_secs(30);

#[async_trait]
impl DemandSource for HostedForge {
    fn name(&self) -> &str {
        self.inner.name.as_str()
    }

    fn serves(&self, pool: &PoolSpec) -> bool {
        pool.forge.as_ref().is_some_and(|forge| forge.name == self.inner.name)
    }

    fn set_capacity(&self, capacity: &BTreeMap<PoolName, u32>) {
        let changed = self.inner.capacity.send_if_modified(|known| {
            let changed = known != capacity;
            if changed {
                known.clone_from(capacity);
            }
            changed
        });
        if changed {
            self.board().set_capacity(capacity.clone());
        }
    }

    async fn demand(&self, pools: &[PoolSpec]) -> Result<BTreeMap<PoolName, Demand>, ForgeError> {
        let ours = of(&self.inner.name, pools);
        let shapes: BTreeMap<PoolName, _> =
            ours.iter().map(|pool| (pool.name.clone(), pool.shape.clone())).collect();
        let mut board = self.board();
        board.set_pools(ours);
        let needs = board.needs(Instant::now());
        drop(board);
        self.rouse(&needs);
        let demand = |(name, shape)| {
            let jobs = needs.get(&name).copied().unwrap_or(0);
            let demand = if jobs > 0 { Demand::from([(shape, jobs)]) } else { Demand::new() };
            (name, demand)
        };
        Ok(shapes.into_iter().map(demand).collect())
    }

    async fn changed(&self) {
        self.inner.demand.notified().await;
    }
}

#[async_trait]
impl Forge for HostedForge {
    async fn acquire(&self, offer: &Offer) -> Result<Work, ForgeError> {
        let waiters = self.inner.records.waiters();
        let found = acquire(waiters, &self.inner.store, offer, || self.claim(offer)).await?;
        match found {
            Found::Work(record) | Found::Standing(Standing::Bound(record)) => self.work(offer, &record).await,
            Found::Standing(standing) => Err(refused(offer, &standing)),
        }
    }

    async fn release(&self, machine: &MachineId) -> Result<Release, ForgeError> {
        self.inner.records.release(machine).await
    }

    async fn started(&self, job: &JobId, machine: &MachineId) -> Result<(), ForgeError> {
        self.inner.records.started(job, machine).await
    }

    async fn output(&self, job: &JobId, machine: &MachineId, output: Output) -> Result<(), ForgeError> {
        let signs = match output.stream {
            Stream::Stdout => {
                let read = |line: &str| self.inner.remote.sign(line);
                lock(&self.inner.signs).entry(job.clone()).or_default().take(
                    output.offset,
                    &output.data,
                    read,
                )
            }
            Stream::Stderr => Vec::new(),
        };
        // What the runner says counts whether or not its log could be written, which is tried again with the same piece.
        let written = self.inner.records.output(job, machine, output).await;
        for sign in signs {
            self.heed(job, sign).await;
        }
        written
    }

    async fn cancelled(&self, job: &JobId) -> Cancel {
        let ended = async {
            loop {
                let mut ended = pin!(self.inner.ended.notified());
                ended.as_mut().enable();
                if let Some(why) = lock(&self.inner.ending).get(job) {
                    return *why;
                }
                ended.await;
            }
        };
        tokio::select! {
            why = self.inner.records.cancelled(job) => why,
            why = ended => why,
        }
    }

    async fn judge(&self, job: &JobId, told: Outcome, notes: &mut Vec<String>) -> Verdict {
        let code = if let Outcome::Exited { code } = told { Some(code) } else { None };
        let meaning = code.and_then(|code| self.inner.remote.meaning(code));
        notes.extend(meaning.map(str::to_owned));
        let row = match self.row(job).await {
            Ok(row) => row,
            Err(error) => {
                notes.push(format!(
                    "this is the runner's own result; the forge was not asked, because {error}"
                ));
                return Verdict { outcome: told, unused: None };
            }
        };
        let Some(remote) = row.and_then(|record| record.remote) else {
            return Verdict { outcome: told, unused: None };
        };
        // A forge that does not say who has a job may have let it look as if this runner had it; the runner's log knows.
        let has_begun = lock(&self.inner.signs).get(job).is_some_and(Signs::has_begun);
        let missed = match code {
            Some(code) if !has_begun => self.inner.remote.missed(&remote, code).await,
            _ => None,
        };
        if let Some(missed) = missed {
            notes.push(missed.note().to_owned());
            // Known before the next list is: no other machine is made for it.
            let handle = remote.handle.as_deref();
            let id = remote.id.filter(|_| missed != Missed::Untold);
            let waited = id.is_some_and(|id| self.heard().queue.missed(id, handle, Instant::now()));
            if waited {
                self.wake();
            }
            self.note(job, move |remote| {
                (remote.handle, remote.picked_up_at, remote.task) = (None, None, None);
                remote.conclusion = (missed == Missed::Cancelled).then(|| "cancelled".to_owned());
            })
            .await;
            return Verdict { outcome: Outcome::Cancelled, unused: None };
        }
        // What says that it had a job may be all that is known of it: the note of its beginning may have been lost.
        let had_job = remote.is_picked_up()
            || has_begun
            || remote.conclusion.is_some()
            || self.board().runners.get(job).is_some_and(|runner| runner.stage != Stage::Idle);
        if had_job {
            let judged = self.inner.remote.judge(&remote, told).await;
            notes.extend(judged.note);
            if let Some(found) = judged.job {
                self.note(job, move |remote| describe(remote, &found)).await;
            }
            return Verdict { outcome: judged.outcome, unused: None };
        }
        let Some(code) = code else { return Verdict { outcome: told, unused: None } };
        // The runner and its image are what is wrong, most of all if it was quick; in any case nobody gained anything.
        notes.push("this runner got no job".to_owned());
        let meaning = meaning.map(|meaning| format!(" ({meaning})")).unwrap_or_default();
        let unused = format!(
            "the runner ended with exit code {code} before it got a job{meaning}; `fireactions jobs logs {job}` shows its output"
        );
        Verdict { outcome: told, unused: Some(unused) }
    }

    async fn finished(&self, job: &JobId, machine: &MachineId, report: &Report) -> Result<(), ForgeError> {
        self.end_cache(machine).await;
        self.inner.records.finished(job, machine, report).await?;
        lock(&self.inner.signs).remove(job);
        lock(&self.inner.ending).remove(job);
        self.unsettle(job);
        self.board().runners.ended(job, false, Instant::now());
        self.inner.leftover.notify_one();
        self.wake();
        Ok(())
    }

    async fn undone(&self, job: &JobId, machine: &MachineId, phases: &PhaseTimes) -> Result<(), ForgeError> {
        self.inner.records.undone(job, machine, phases).await
    }
}

impl HostedForge {
    /// A row whose job has ended, with some patience: without it the forge cannot be asked how the job went.
    async fn row(&self, job: &JobId) -> Result<Option<JobRecord>, StoreError> {
        let begun = Instant::now();
        let mut pauses = ExponentialBackoff::new(Duration::from_millis(100), Duration::from_secs(2));
        loop {
            match self.inner.store.job(job).await {
                Err(error) if begun.elapsed() < ROW => {
                    tracing::debug!(%job, %error, "its row cannot be read yet");
                    sleep(pauses.failed(rand::random())).await;
                }
                answer => return answer,
            }
        }
    }
}
