//! The forge as machines and pools see it.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Instant;

use async_trait::async_trait;
use fireactions_model::{
    Demand, DemandSource, Event, Forge, ForgeError, JobId, JobRecord, JobSpec, JobState, MachineId, Offer,
    Outcome, Output, PhaseTimes, PoolName, PoolSpec, Program, Release, RemoteJob, Report, Secret, Stream,
    Verdict, Work,
};
use fireactions_store::{Bind, Standing};
use jiff::Timestamp;

use super::board::Runner;
use super::signs::Sign;
use super::{GithubForge, NAME, lock, ours, program, register};
use crate::local::refused;
use crate::refusal::forge_error;
use crate::waiters::{Found, acquire};

#[async_trait]
impl DemandSource for GithubForge {
    fn name(&self) -> &'static str {
        NAME
    }

    fn serves(&self, pool: &PoolSpec) -> bool {
        pool.github.is_some()
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
        let ours = ours(pools);
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
impl Forge for GithubForge {
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
            Stream::Stdout => lock(&self.inner.signs).entry(job.clone()).or_default().take(&output.data),
            Stream::Stderr => Vec::new(),
        };
        self.inner.records.output(job, machine, output).await?;
        for sign in signs {
            self.heed(job, sign).await;
        }
        Ok(())
    }

    async fn cancelled(&self, job: &JobId) {
        let surplus = async {
            loop {
                let mut ended = pin!(self.inner.ended.notified());
                ended.as_mut().enable();
                if lock(&self.inner.ending).contains(job) {
                    return;
                }
                ended.await;
            }
        };
        tokio::select! {
            () = self.inner.records.cancelled(job) => {}
            () = surplus => {}
        }
    }

    async fn judge(&self, job: &JobId, told: Outcome, notes: &mut Vec<String>) -> Verdict {
        let Outcome::Exited { code } = told else { return Verdict { outcome: told, unused: None } };
        let meaning = program::meaning(code);
        notes.extend(meaning.map(str::to_owned));
        let remote = self.inner.store.job(job).await.ok().flatten().and_then(|record| record.remote);
        let Some(remote) = remote else { return Verdict { outcome: told, unused: None } };
        if !remote.is_picked_up() {
            // The runner and its image are what is wrong, most of all if it was quick; in any case nobody gained anything.
            notes.push("no job came for this runner".to_owned());
            let meaning = meaning.map(|meaning| format!(" ({meaning})")).unwrap_or_default();
            let unused = format!(
                "the runner ended with exit code {code} before a job came{meaning}; `fireactions jobs logs {job}` has its output"
            );
            return Verdict { outcome: told, unused: Some(unused) };
        }
        let outcome = match remote.conclusion.as_deref().filter(|_| code == 0) {
            Some(conclusion @ ("failure" | "timed_out" | "startup_failure" | "abandoned")) => {
                notes.push(format!("GitHub's job ended with {conclusion}"));
                // The runner returns 0 whatever became of its job; a machine of a failed job may be held.
                Outcome::Exited { code: 1 }
            }
            Some("cancelled") => Outcome::Cancelled,
            _ => told,
        };
        Verdict { outcome, unused: None }
    }

    async fn finished(&self, job: &JobId, machine: &MachineId, report: &Report) -> Result<(), ForgeError> {
        self.inner.records.finished(job, machine, report).await?;
        lock(&self.inner.signs).remove(job);
        lock(&self.inner.ending).remove(job);
        self.board().runners.ended(job, false, Instant::now());
        self.inner.leftover.notify_one();
        self.wake();
        Ok(())
    }

    async fn undone(&self, job: &JobId, machine: &MachineId, phases: &PhaseTimes) -> Result<(), ForgeError> {
        self.inner.records.undone(job, machine, phases).await
    }
}

/// A claim that is given up unless it is kept, whatever becomes of its future.
struct Claimed<'a> {
    forge: &'a GithubForge,
    job: JobId,
    kept: bool,
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.forge.board().give_up(&self.job);
            self.forge.wake();
        }
    }
}

impl GithubForge {
    /// Makes the machine a runner of its pool, if the pool lacks one: durably, with the name that it will have, and before
    /// GitHub hears of it.
    async fn claim(&self, offer: &Offer) -> Result<Option<Box<JobRecord>>, ForgeError> {
        let Some(runner) = &offer.pool.github else {
            return Err(ForgeError::Refused(format!("pool '{}' is not GitHub's", offer.pool.name)));
        };
        let job = JobId::from_random(rand::random());
        let claim = self.board().claim(&offer.pool.name, &job, Instant::now());
        let Some(claim) = claim else { return Ok(None) };
        let mut claimed = Claimed { forge: self, job: job.clone(), kept: false };
        let name = register::name(&runner.prefix, &self.inner.key, &offer.machine);
        let remote = RemoteJob {
            forge: NAME.to_owned(),
            scope: runner.scope.to_string(),
            runner: Some(name.clone()),
            scale_set: runner.scale_set.clone(),
            queued_at: claim.queued_at,
            ..RemoteJob::default()
        };
        let spec = spec(&offer.pool);
        let bind = self
            .inner
            .store
            .insert_runner(&job, &spec, &remote, &offer.machine, &offer.pool.name)
            .await
            .map_err(forge_error)?;
        match bind {
            Bind::Bound(record) => {
                claimed.kept = true;
                self.board().runners.name(&job, &name);
                // One job fewer waits.
                self.inner.demand.notify_one();
                Ok(Some(record))
            }
            Bind::Refused(Standing::Bound(record)) => Ok(Some(record)),
            Bind::Refused(standing) => Err(refused(offer, &standing)),
            Bind::Taken => Err(ForgeError::Refused("the runner was taken".to_owned())),
        }
    }

    /// What the machine is to do, or does already.
    async fn work(&self, offer: &Offer, record: &JobRecord) -> Result<Work, ForgeError> {
        let (Some(runner), Some(remote)) = (&offer.pool.github, &record.remote) else {
            return Err(ForgeError::Refused(format!("job {} is not GitHub's", record.id)));
        };
        {
            // An earlier call may have been cut off between the row and the board.
            let mut board = self.board();
            if board.runners.get(&record.id).is_none() {
                let mut known = Runner::new(offer.pool.name.clone(), Instant::now());
                known.name.clone_from(&remote.runner);
                board.runners.insert(record.id.clone(), known);
            }
        }
        let credential = match record.state {
            JobState::Assigned => match self.inner.store.credential(&record.id).await.map_err(forge_error)? {
                Some(credential) => credential,
                None => self.register(offer, runner, record).await?,
            },
            // It runs; nothing of this is used again.
            _ => Secret::new(""),
        };
        Ok(program::work(&record.id, &offer.pool, runner, credential))
    }

    /// Takes over what a runner says of itself.
    async fn heed(&self, job: &JobId, sign: Sign) {
        match sign {
            Sign::Online => tracing::debug!(%job, "the runner listens for its job"),
            Sign::Began(name) => {
                self.picked_up(job, false, move |remote| {
                    if remote.name.is_none() {
                        remote.name = name;
                    }
                })
                .await;
            }
            Sign::Ended(conclusion) => {
                self.over(job, false, move |remote| {
                    if remote.conclusion.is_none() {
                        remote.conclusion = conclusion;
                    }
                })
                .await;
            }
        }
    }

    /// A runner has begun its job. `known`: by GitHub's word.
    pub(super) async fn picked_up(
        &self,
        job: &JobId,
        known: bool,
        describe: impl FnOnce(&mut RemoteJob) + Send + 'static,
    ) {
        let (news, pool) = {
            let mut board = self.board();
            let news = board.runners.began(job, known, Instant::now());
            (news, board.runners.get(job).map(|runner| runner.pool.clone()))
        };
        let before = self.inner.store.job(job).await.ok().flatten();
        let first = before.as_ref().is_some_and(JobRecord::is_idle_runner);
        let now = Timestamp::now();
        self.note(job, move |remote| {
            describe(remote);
            remote.picked_up_at.get_or_insert(now);
        })
        .await;
        if first && let (Some(pool), Some(before)) = (pool, before) {
            let queued_at = before.remote.and_then(|remote| remote.queued_at).unwrap_or(before.queued_at);
            let micros = u64::try_from(now.as_microsecond() - queued_at.as_microsecond()).unwrap_or(0);
            let _ = self.inner.events.send(Event::PickedUp { pool, micros });
        }
        if news {
            self.wake();
        }
    }

    /// A runner's job has ended. `known`: by GitHub's word.
    pub(super) async fn over(
        &self,
        job: &JobId,
        known: bool,
        describe: impl FnOnce(&mut RemoteJob) + Send + 'static,
    ) {
        let news = self.board().runners.ended(job, known, Instant::now());
        self.note(job, describe).await;
        if news {
            self.wake();
        }
    }

    /// Writes down what became known of a runner; a failure costs what people see, no more.
    pub(super) async fn note(&self, job: &JobId, change: impl FnOnce(&mut RemoteJob) + Send + 'static) {
        if let Err(error) = self.inner.store.update_remote(job, change).await {
            tracing::warn!(%job, %error, "what became known of a runner could not be written down");
        }
    }
}

/// A runner's row in the words of a job.
fn spec(pool: &PoolSpec) -> JobSpec {
    JobSpec {
        name: None,
        image: Some(pool.shape.image.clone()),
        program: Program::Image { args: vec![] },
        env: Vec::new(),
        labels: pool.labels.iter().cloned().collect(),
        vcpus: Some(pool.shape.vcpus),
        memory_mib: Some(pool.shape.memory_mib),
        disk_mib: Some(pool.shape.disk_mib),
        timeout_secs: None,
        user: None,
        workdir: None,
        files: Vec::new(),
        artifacts: Vec::new(),
    }
}
