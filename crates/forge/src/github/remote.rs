//! GitHub as a hosted forge.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use fireactions_github::webhook::{self, Event};
use fireactions_github::{Deleted as Deletion, JobStatus, RunnerId};
use fireactions_http::webhook::Forged;
use fireactions_model::{
    ForgeName, GithubScope, JobRecord, Offer, Outcome, PoolName, PoolSpec, RateLimit, RemoteJob, Secret, Work,
};
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::{GithubRemote, audit, drift, job, origin, program, register, scale_set, signs};
use crate::hosted::board::Rules;
use crate::hosted::error::Error;
use crate::hosted::remote::{Change, Deleted, JobNews, Judged, Listed, Registered, Remote};
use crate::hosted::signs::Sign;
use crate::hosted::{Delivery, HostedForge};

/// What a webhook's content type must be at GitHub: the other one signs and sends a form.
const JSON: &str = "application/json";

#[async_trait]
impl Remote for GithubRemote {
    fn rules(&self) -> Arc<dyn Rules> {
        self.inner.rules.clone()
    }

    fn scope(&self, pool: &PoolSpec) -> Option<String> {
        Some(pool.github()?.scope.to_string())
    }

    fn prefix<'a>(&self, pool: &'a PoolSpec) -> &'a str {
        pool.github().map_or("", |runner| &runner.prefix)
    }

    async fn register(&self, forge: &HostedForge, offer: &Offer, name: &str) -> Result<Registered, Error> {
        let Some(runner) = offer.pool.github() else {
            return Err(Error::lasting(format!("pool '{}' does not belong to GitHub", offer.pool.name)));
        };
        Ok(self.register_runner(forge, &offer.pool, runner, name).await?)
    }

    async fn delete(&self, scope: &str, id: u64) -> Result<Deleted, Error> {
        match self.inner.github.delete_runner(&parse(scope)?, RunnerId::new(id)).await.map_err(error)? {
            Deletion::Gone => Ok(Deleted::Gone),
            Deletion::Busy => Ok(Deleted::Busy),
        }
    }

    async fn runners(&self, scope: &str) -> Result<Option<Vec<Listed>>, Error> {
        let all = self.inner.github.runners(&parse(scope)?).await.map_err(error)?;
        let listed = |runner: fireactions_github::Runner| Listed {
            id: runner.id.get(),
            name: runner.name,
            busy: runner.busy,
            labels: runner.labels,
            group: runner.group,
        };
        Ok(Some(all.into_iter().map(listed).collect()))
    }

    async fn drift(&self, pool: &PoolSpec, runner: &Listed) -> Option<String> {
        let group = self.group(pool.github()?).await.ok()?;
        // Those of a scale set have its labels, which were looked at with the set.
        let labels = if pool.scale_set().is_some() { Vec::new() } else { register::labels(pool) };
        drift::of_runner(&labels, group, &runner.labels, runner.group)
    }

    async fn audit(&self, forge: &HostedForge, scope: &str, pools: &[PoolSpec]) -> Result<(), Error> {
        Ok(audit::run(self, forge, &parse(scope)?, pools).await?)
    }

    fn listeners(
        &self,
        forge: &HostedForge,
        pools: &[PoolSpec],
        stop: &CancellationToken,
    ) -> Vec<BoxFuture<'static, ()>> {
        let sets = pools.iter().filter(|pool| pool.scale_set().is_some());
        let listen = |pool: &PoolSpec| {
            let listening = scale_set::listen(self.clone(), forge.clone(), pool.clone(), stop.clone());
            Box::pin(listening) as BoxFuture<'static, ()>
        };
        sets.map(listen).collect()
    }

    fn holds(&self) -> BTreeMap<PoolName, String> {
        self.sessions()
    }

    async fn free(&self, pools: &[PoolSpec], held: &BTreeMap<PoolName, String>) {
        self.free_sessions(pools, held).await;
    }

    async fn look_at_origins(&self, forge: &HostedForge, pool: &PoolName) {
        origin::look(self, forge, pool).await;
    }

    /// The queue of a scale set says which runner has which job.
    fn tells_origin(&self, remote: &RemoteJob) -> bool {
        remote.scale_set.is_some()
    }

    fn work(&self, record: &JobRecord, pool: &PoolSpec, credential: Secret, cache: Option<&Secret>) -> Work {
        program::work(&record.id, pool, credential, cache)
    }

    fn sign(&self, line: &str) -> Option<Sign> {
        signs::read(line)
    }

    fn meaning(&self, code: i32) -> Option<&'static str> {
        program::meaning(code)
    }

    async fn judge(&self, remote: &RemoteJob, told: Outcome) -> Judged {
        // The runner returns 0 whatever became of its job.
        if told != (Outcome::Exited { code: 0 }) {
            return Judged::as_told(told);
        }
        match remote.conclusion.as_deref() {
            Some(conclusion @ ("failure" | "timed_out" | "startup_failure" | "abandoned")) => Judged {
                // A machine of a failed job may be held.
                note: Some(format!("GitHub reports that the job ended with {conclusion}")),
                ..Judged::as_told(Outcome::Exited { code: 1 })
            },
            Some("cancelled") => Judged::as_told(Outcome::Cancelled),
            _ => Judged::as_told(told),
        }
    }

    fn verify(&self, secrets: &[Secret], delivery: &Delivery<'_>) -> Result<(), Forged> {
        let signature = delivery.header("x-hub-signature-256");
        webhook::verify(secrets, delivery.body, signature)
    }

    fn delivery_id<'a>(&self, delivery: &Delivery<'a>) -> Option<&'a str> {
        delivery.header("x-github-delivery")
    }

    fn parse(&self, name: &ForgeName, delivery: &Delivery<'_>) -> Result<Option<JobNews>, String> {
        // Already of the ping, which people see while they set the webhook up.
        if let Some(kind) = delivery.header("content-type")
            && !kind.trim_start().to_ascii_lowercase().starts_with(JSON)
        {
            return Err(format!(
                "the webhook's content type must be {JSON}: change it in the webhook's settings"
            ));
        }
        let event = webhook::parse(delivery.header("x-github-event").unwrap_or_default(), delivery.body)
            .map_err(|error| error.to_string())?;
        let Event::WorkflowJob(event) = event else { return Ok(None) };
        let change = match event.job.status {
            JobStatus::Queued => Change::Queued,
            JobStatus::InProgress => Change::Began,
            JobStatus::Completed => Change::Ended,
            // It waits for something else than a runner.
            JobStatus::Waiting | JobStatus::Pending | JobStatus::Requested => Change::Other,
        };
        let runner = event.job.runner_name.clone();
        let job = job::waiting(name, &event.job, event.job.repository.owner(), Instant::now());
        Ok(Some(JobNews { job, change, runner }))
    }

    fn calls(&self) -> u64 {
        self.inner.github.calls()
    }

    fn limits(&self) -> Vec<RateLimit> {
        self.inner.github.limits()
    }
}

fn error(error: fireactions_github::Error) -> Error {
    super::Error::from(error).into()
}

/// A scope as it stands in a row.
fn parse(scope: &str) -> Result<GithubScope, Error> {
    scope.parse().map_err(|error| Error::lasting(format!("a runner's scope is not valid: {error}")))
}
