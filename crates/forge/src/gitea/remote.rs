//! A Gitea or a Forgejo as a hosted forge.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fireactions_gitea::{
    Conclusion, Error as GiteaError, JobStatus, Kind, Registration, RunnerId, label_name,
};
use fireactions_http::webhook::Forged;
use fireactions_model::{
    ExponentialBackoff, ForgeName, GiteaScope, JobId, JobRecord, Offer, Outcome, PoolSpec, RateLimit,
    RemoteJob, Secret, Work,
};
use futures::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{GiteaRemote, follow, hook, job, program, settle, signs};
use crate::hosted::board::Rules;
use crate::hosted::error::Error;
use crate::hosted::remote::{Deleted, JobNews, Judged, Listed, Missed, Registered, Remote};
use crate::hosted::signs::Sign;
use crate::hosted::{Delivery, HostedForge};

/// How long the forge may take to say how a job ended whose runner has ended. The machine waits for it.
const VERDICT: Duration = Duration::from_secs(30);

#[async_trait]
impl Remote for GiteaRemote {
    fn rules(&self) -> Arc<dyn Rules> {
        self.inner.rules.clone()
    }

    fn scope(&self, pool: &PoolSpec) -> Option<String> {
        Some(pool.gitea()?.scope.to_string())
    }

    fn prefix<'a>(&self, pool: &'a PoolSpec) -> &'a str {
        pool.gitea().map_or("", |runner| &runner.prefix)
    }

    fn binds(&self) -> bool {
        self.inner.gitea.kind() == Kind::Forgejo
    }

    async fn register(&self, _: &HostedForge, offer: &Offer, name: &str) -> Result<Registered, Error> {
        let Some(runner) = offer.pool.gitea() else {
            return Err(Error::lasting(format!("pool '{}' does not belong to this forge", offer.pool.name)));
        };
        let registration = Registration {
            name: name.to_owned(),
            labels: runner.labels.clone(),
            ephemeral: true,
            version: concat!("fireactions/", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        let registered = self.inner.gitea.register(&runner.scope, &registration).await.map_err(error)?;
        let credential = program::Credential {
            id: registered.id.get(),
            uuid: registered.uuid,
            token: registered.token.expose().to_owned(),
            ephemeral: registered.ephemeral,
        };
        Ok(Registered { id: credential.id, credential: credential.to_secret() })
    }

    async fn delete(&self, scope: &str, id: u64) -> Result<Deleted, Error> {
        if !self.inner.settings.reads_queue {
            // A registration token deregisters nobody. A runner for one job went with its job.
            return Ok(Deleted::Gone);
        }
        match self.inner.gitea.delete_runner(&parse(scope)?, RunnerId::new(id)).await {
            Ok(()) => Ok(Deleted::Gone),
            Err(GiteaError::Unsupported { why, .. }) => {
                tracing::warn!(
                    runner = id,
                    scope,
                    "a runner that ended cannot be removed at the forge: {why}; it stays listed as offline"
                );
                Ok(Deleted::Gone)
            }
            Err(error) => Err(self::error(error)),
        }
    }

    /// Neither forge refuses to delete a runner that has a job, so it is looked for first. A Gitea that can gives the runner
    /// none meanwhile; otherwise there is a moment between the look and the end.
    async fn let_go(&self, remote: &RemoteJob, id: u64) -> Result<Deleted, Error> {
        if !self.inner.settings.reads_queue {
            return self.delete(&remote.scope, id).await;
        }
        let (scope, runner, gitea) = (parse(&remote.scope)?, RunnerId::new(id), &self.inner.gitea);
        if self.has_job(&scope, runner, remote).await? {
            return Ok(Deleted::Busy);
        }
        if gitea.disable_runner(&scope, runner, true).await.map_err(error)? {
            let found = self.has_job(&scope, runner, remote).await;
            if !matches!(found, Ok(false)) {
                self.enable(&scope, runner).await;
                return found.map(|_| Deleted::Busy);
            }
        }
        self.delete(&remote.scope, id).await
    }

    async fn runners(&self, scope: &str) -> Result<Option<Vec<Listed>>, Error> {
        if !self.inner.settings.reads_queue {
            return Ok(None);
        }
        let all = match self.inner.gitea.runners(&parse(scope)?).await {
            Ok(all) => all,
            Err(GiteaError::Unsupported { .. }) => return Ok(None),
            Err(error) => return Err(self::error(error)),
        };
        let listed = |runner: fireactions_gitea::Runner| Listed {
            id: runner.id.get(),
            name: runner.name,
            busy: runner.busy,
            labels: runner.labels,
            group: None,
        };
        Ok(Some(all.into_iter().map(listed).collect()))
    }

    async fn drift(&self, pool: &PoolSpec, runner: &Listed) -> Option<String> {
        // A Forgejo hears of labels only when the runner declares them.
        if runner.labels.is_empty() {
            return None;
        }
        let has = |label: &&str| runner.labels.iter().any(|found| found == label);
        let wanted = pool.gitea()?.labels.iter().map(|label| label_name(label));
        let missing: Vec<&str> = wanted.filter(|label| !has(label)).collect();
        let kind = self.inner.gitea.kind();
        (!missing.is_empty()).then(|| {
            format!(
                "{kind}'s runners of this pool lack the labels {}, so jobs with these labels will not arrive: a program in the image declares other labels, or the runners come from another version of the configuration",
                missing.join(", ")
            )
        })
    }

    async fn audit(&self, _: &HostedForge, _: &str, _: &[PoolSpec]) -> Result<(), Error> {
        // The queue is followed all the time.
        Ok(())
    }

    fn listeners(
        &self,
        forge: &HostedForge,
        pools: &[PoolSpec],
        stop: &CancellationToken,
    ) -> Vec<BoxFuture<'static, ()>> {
        if !self.inner.settings.reads_queue {
            return Vec::new();
        }
        let mut scopes: Vec<GiteaScope> = Vec::new();
        for runner in pools.iter().filter_map(PoolSpec::gitea) {
            if !scopes.contains(&runner.scope) {
                scopes.push(runner.scope.clone());
            }
        }
        let follow = |scope: GiteaScope| {
            let of_scope = |pool: &&PoolSpec| pool.gitea().is_some_and(|runner| runner.scope == scope);
            let pools = pools.iter().filter(of_scope).cloned().collect();
            let following = follow::run(self.clone(), forge.clone(), scope, pools, stop.clone());
            Box::pin(following) as BoxFuture<'static, ()>
        };
        scopes.into_iter().map(follow).collect()
    }

    /// The queue's list tells of runs of each runner, too, and costs the server little.
    fn listens_on_each_host(&self) -> bool {
        true
    }

    /// A Gitea names the runner that has a job; a Forgejo's runner has the job that it is bound to, or none.
    fn tells_origin(&self, remote: &RemoteJob) -> bool {
        self.inner.settings.reads_queue && (!self.binds() || remote.handle.is_some())
    }

    fn look_soon(&self) {
        self.inner.looks.send_replace(());
    }

    fn work(&self, record: &JobRecord, pool: &PoolSpec, credential: Secret, cache: Option<&Secret>) -> Work {
        let gitea = &self.inner.gitea;
        program::work((gitea.kind(), gitea.page().as_str()), record, pool, &credential, cache)
    }

    fn sign(&self, line: &str) -> Option<Sign> {
        signs::read(line)
    }

    fn meaning(&self, code: i32) -> Option<&'static str> {
        program::meaning(self.inner.gitea.kind(), code)
    }

    async fn missed(&self, remote: &RemoteJob, code: i32) -> Option<Missed> {
        if self.inner.gitea.kind() != Kind::Forgejo || code != program::NO_TASK {
            return None;
        }
        let job = match settle::find(self, remote, Instant::now() + VERDICT).await {
            Ok(Some(job)) => job,
            Ok(None) => return Some(Missed::Gone),
            Err(_) => return Some(Missed::Untold),
        };
        match (job.status, job.conclusion) {
            // It was refused to the runner: something is wrong with its labels.
            (JobStatus::Waiting, _) => None,
            (JobStatus::Done, Some(Conclusion::Cancelled)) => Some(Missed::Cancelled),
            (JobStatus::Running | JobStatus::Done, _) => Some(Missed::Taken),
            (JobStatus::Blocked, _) => Some(Missed::Untold),
        }
    }

    /// The forge alone knows: the runner returns 0 whatever became of its job, and is never told of a cancellation.
    async fn judge(&self, remote: &RemoteJob, told: Outcome) -> Judged {
        let kind = self.inner.gitea.kind();
        if !self.inner.settings.reads_queue {
            let note = format!(
                "the job ended; only {kind} knows its result, because a registration token cannot ask for it"
            );
            return Judged { note: Some(note), ..Judged::as_told(told) };
        }
        let job = if remote.conclusion.is_none() {
            let found = settle::find(self, remote, Instant::now() + VERDICT).await;
            found
                .ok()
                .flatten()
                .filter(|job| job.status == JobStatus::Done)
                .map(|job| job::remote(&remote.forge, &job))
        } else {
            None
        };
        let conclusion = remote.conclusion.clone().or_else(|| job.as_ref()?.conclusion.clone());
        let outcome = match conclusion.as_deref() {
            Some("success" | "skipped") => Outcome::Exited { code: 0 },
            Some("cancelled") => Outcome::Cancelled,
            Some(_) => Outcome::Exited { code: 1 },
            None => {
                let note = format!("the job ended; {kind} did not report its result");
                return Judged { note: Some(note), ..Judged::as_told(told) };
            }
        };
        let differs = conclusion.filter(|_| outcome != told);
        let note = differs.map(|conclusion| format!("{kind} reports that the job ended with {conclusion}"));
        Judged { outcome, note, job }
    }

    fn ended(&self, forge: &HostedForge, row: &JobId, conclusion: Option<&str>) {
        let cancelled = conclusion == Some(Conclusion::Cancelled.as_str());
        settle::close(forge.clone(), row.clone(), cancelled);
    }

    fn verify(&self, secrets: &[Secret], delivery: &Delivery<'_>) -> Result<(), Forged> {
        hook::verify(secrets, delivery)
    }

    fn delivery_id<'a>(&self, delivery: &Delivery<'a>) -> Option<&'a str> {
        delivery.header("x-gitea-delivery")
    }

    fn parse(&self, name: &ForgeName, delivery: &Delivery<'_>) -> Result<Option<JobNews>, String> {
        hook::parse(name, delivery)
    }

    fn calls(&self) -> u64 {
        self.inner.gitea.calls()
    }

    fn limits(&self) -> Vec<RateLimit> {
        Vec::new()
    }
}

impl GiteaRemote {
    /// Whether the runner has a job. It is listed as busy only some seconds after it took one; the job itself is listed at
    /// once, with its runner at a Gitea, and at a Forgejo with the handle that the runner is bound to.
    async fn has_job(&self, scope: &GiteaScope, runner: RunnerId, row: &RemoteJob) -> Result<bool, Error> {
        let gitea = &self.inner.gitea;
        match gitea.runner(scope, runner).await {
            Ok(found) if found.as_ref().is_some_and(|found| found.busy) => return Ok(true),
            Ok(_) | Err(GiteaError::Unsupported { .. }) => {}
            Err(error) => return Err(self::error(error)),
        }
        let jobs = match gitea.jobs(scope, &[]).await {
            Ok(jobs) => jobs,
            Err(GiteaError::Unsupported { .. }) => return Ok(false),
            Err(error) => return Err(self::error(error)),
        };
        let is_its = |job: &&fireactions_gitea::Job| {
            job.runner == Some(runner)
                || row.handle.is_some() && job.handle == row.handle && row.id == Some(job.id.get())
        };
        Ok(jobs.iter().filter(|job| job.status == JobStatus::Running).any(|job| is_its(&job)))
    }

    /// The runner takes jobs again. It is tried some times: one that stays disabled waits for nothing.
    async fn enable(&self, scope: &GiteaScope, runner: RunnerId) {
        let mut pauses = ExponentialBackoff::new(Duration::from_millis(100), Duration::from_secs(2));
        for _ in 0..5 {
            match self.inner.gitea.disable_runner(scope, runner, false).await {
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(%runner, %scope, %error, "a runner could not be enabled again; no job reaches it until then");
                    tokio::time::sleep(pauses.failed(rand::random())).await;
                }
            }
        }
    }
}

fn error(error: GiteaError) -> Error {
    let (transient, after) = (error.is_transient(), error.retry_after());
    if transient { Error::transient(error, after) } else { Error::lasting(error) }
}

/// A scope as it stands in a row.
fn parse(scope: &str) -> Result<GiteaScope, Error> {
    scope.parse().map_err(|error| Error::lasting(format!("a runner's scope is not valid: {error}")))
}
