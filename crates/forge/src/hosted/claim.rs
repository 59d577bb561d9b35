//! A machine becomes a runner, and what becomes known of the runner.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use fireactions_model::{
    Event, ExponentialBackoff, ForgeError, JobId, JobRecord, JobSpec, JobState, Offer, PoolSpec, Program,
    RemoteJob, Secret, Work,
};
use fireactions_store::{Bind, Standing};
use jiff::Timestamp;

use super::HostedForge;
use super::authorities;
use super::board::Runner;
use super::names::name;
use super::signs::Sign;
use crate::local::refused;
use crate::refusal::forge_error;

/// How long it is tried to write down what became known of a runner.
const PATIENCE: Duration = Duration::from_secs(30);

/// A claim that is given up unless it is kept, whatever becomes of its future.
struct Claimed<'a> {
    forge: &'a HostedForge,
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

impl HostedForge {
    /// Makes the machine a runner of its pool, if the pool lacks one: durably, with the name that it will have, and before
    /// the forge hears of it.
    pub(super) async fn claim(&self, offer: &Offer) -> Result<Option<Box<JobRecord>>, ForgeError> {
        let inner = &self.inner;
        let Some(scope) = inner.remote.scope(&offer.pool) else {
            return Err(ForgeError::Refused(format!(
                "pool '{}' does not belong to forge '{}'",
                offer.pool.name, inner.name
            )));
        };
        let job = JobId::from_random(rand::random());
        let claim = self.board().claim(&offer.pool.name, &job, Instant::now());
        let Some(claim) = claim else { return Ok(None) };
        let mut claimed = Claimed { forge: self, job: job.clone(), kept: false };
        let name = name(inner.remote.prefix(&offer.pool), &inner.key, &offer.machine);
        let mut remote = RemoteJob {
            runner: Some(name.clone()),
            scale_set: offer.pool.scale_set().map(str::to_owned),
            queued_at: claim.waiting.as_ref().and_then(|waiting| waiting.queued_at),
            ..RemoteJob::new(inner.name.clone(), scope)
        };
        if let Some(waiting) = claim.waiting.filter(|_| inner.remote.binds()) {
            waiting.describe(&mut remote);
        }
        let spec = spec(&offer.pool);
        let bind = inner
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
            Bind::Taken => {
                Err(ForgeError::Refused("the runner's row is already bound to another machine".to_owned()))
            }
        }
    }

    /// What the machine is to do, or does already.
    pub(super) async fn work(&self, offer: &Offer, record: &JobRecord) -> Result<Work, ForgeError> {
        let Some(remote) = &record.remote else {
            return Err(ForgeError::Refused(format!(
                "job {} does not belong to forge '{}'",
                record.id, self.inner.name
            )));
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
                None => self.register(offer, record).await?,
            },
            // It runs; nothing of this is used again.
            _ => Secret::new(""),
        };
        let cache = self.admit_to_cache(&offer.machine, remote).await;
        let mut work = self.inner.remote.work(record, &offer.pool, credential, cache.as_ref());
        if let Some(pem) = &self.inner.settings.authorities {
            authorities::trust(&mut work, pem);
        }
        Ok(work)
    }

    /// Takes over what a runner says of itself.
    pub(super) async fn heed(&self, job: &JobId, sign: Sign) {
        match sign {
            Sign::Online => tracing::debug!(%job, "the runner listens for its job"),
            Sign::Began(begun) => {
                self.picked_up(job, false, move |remote| {
                    remote.name = remote.name.take().or(begun.name);
                    remote.task = remote.task.or(begun.task);
                    remote.repository = remote.repository.take().or(begun.repository);
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

    /// A runner has begun its job. `known`: by the forge's word. False when it could not be written down, as in [`Self::note`].
    pub(crate) async fn picked_up(
        &self,
        job: &JobId,
        known: bool,
        describe: impl FnOnce(&mut RemoteJob) + Clone + Send + 'static,
    ) -> bool {
        let always = move |remote: &mut RemoteJob| {
            describe(remote);
            true
        };
        self.picked_up_if(job, known, always).await
    }

    /// The same where it may have turned out meanwhile that the job is another runner's: `describe` gives whether it is this
    /// one's.
    pub(crate) async fn picked_up_if(
        &self,
        job: &JobId,
        known: bool,
        describe: impl FnOnce(&mut RemoteJob) -> bool + Clone + Send + 'static,
    ) -> bool {
        let news = {
            let mut board = self.board();
            let known = known && board.told(job);
            board.runners.began(job, known, Instant::now())
        };
        let now = Timestamp::now();
        let noted = self
            .note(job, move |remote| {
                if describe(remote) {
                    remote.picked_up_at.get_or_insert(now);
                }
            })
            .await;
        if news {
            self.wake();
            // Once: a guest may say again and again that it begins.
            if !known && self.inner.settings.caches.is_some() {
                self.inner.remote.look_soon();
            }
        }
        noted
    }

    /// A runner's job has ended. `known`: by the forge's word. False when it could not be written down, as in [`Self::note`].
    pub(crate) async fn over(
        &self,
        job: &JobId,
        known: bool,
        describe: impl FnOnce(&mut RemoteJob) + Clone + Send + 'static,
    ) -> bool {
        let news = {
            let (mut board, now) = (self.board(), Instant::now());
            let counts = known && board.told(job);
            // It had a job, whatever was heard of its begin.
            let began = known && !counts && board.runners.began(job, false, now);
            board.runners.ended(job, counts, now) || began
        };
        if news {
            self.wake();
        }
        self.note(job, describe).await
    }

    /// Writes down what became known of a runner, with some patience: the disk may be full, or somebody else hold the
    /// database. False when it could not be written and may be once more.
    pub(crate) async fn note(
        &self,
        job: &JobId,
        change: impl FnOnce(&mut RemoteJob) + Clone + Send + 'static,
    ) -> bool {
        let begun = Instant::now();
        let mut pauses = ExponentialBackoff::new(Duration::from_millis(100), Duration::from_secs(2));
        // Seen within the change: of all who hear of a job at once, one says how long it waited.
        let waited = Arc::new(OnceLock::new());
        let seen = Arc::clone(&waited);
        let change = move |remote: &mut RemoteJob| {
            let before = remote.waited();
            change(remote);
            if let (None, Some(now)) = (before, remote.waited()) {
                let _ = seen.set(now);
            }
        };
        loop {
            match self.inner.store.update_remote(job, change.clone()).await {
                Ok(()) => {
                    if let Some(waited) = waited.get() {
                        self.say_waited(job, *waited).await;
                    }
                    return true;
                }
                Err(error) => {
                    tracing::warn!(%job, %error, "news about a runner could not be stored");
                    if !error.may_pass() {
                        return true;
                    }
                }
            }
            if begun.elapsed() >= PATIENCE {
                return false;
            }
            tokio::time::sleep(pauses.failed(rand::random())).await;
        }
    }

    /// For the metrics: no harm is done if nobody hears it.
    async fn say_waited(&self, job: &JobId, waited: Duration) {
        let Ok(Some(JobRecord { pool: Some(pool), .. })) = self.inner.store.job(job).await else { return };
        let micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        let _ = self.inner.events.send(Event::PickedUp { job: job.clone(), pool, micros });
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
