//! Runners of Gitea and Forgejo, against fakes that are held to recordings of real servers.

mod caches;
mod ends;
mod farm;
mod faults;
mod gates;
mod queue;
mod shared;
mod standing;

use std::time::Duration;

use fireactions_model::{JobRecord, Outcome};
use fireactions_testkit::gitea::{FakeGitea, JobId, JobRequest, JobStatus, Release, RunnerFate, Workflow};

use crate::github::farm::until;
use farm::Farm;

/// The newest of each, which were recorded.
const NEWEST: [Release; 2] = [Release::GITEA, Release::FORGEJO];

/// One job in a run of its own, whose only step is this word.
fn push(fake: &FakeGitea, labels: &[&str], step: &str) -> JobId {
    let job = JobRequest::new("build", labels).steps(&[("step", step)]);
    fake.begin(Workflow::push("acme/app", vec![job]))[0]
}

/// Waits until the jobs have ended, and says how.
async fn ended(fake: &FakeGitea, jobs: &[JobId]) -> Vec<JobStatus> {
    until("the jobs to end", || async {
        let all: Vec<JobStatus> = jobs.iter().map(|job| fake.job(*job).status).collect();
        all.iter().all(|status| status.is_done()).then_some(all)
    })
    .await
}

/// Waits until no machine is at work, and gives what the rows say then, the oldest first.
async fn settled(farm: &Farm, jobs: usize) -> Vec<JobRecord> {
    let mut rows = until("the machines to end", || async {
        let rows = farm.rows().await;
        let all = rows.len() >= jobs && rows.iter().all(|row| row.state.is_final());
        (all && farm.at_work() == 0).then_some(rows)
    })
    .await;
    rows.sort_by_key(|row| row.queued_at);
    rows
}

/// No runner stays registered, and nobody had to delete one by hand.
async fn nothing_is_left(fake: &FakeGitea) {
    until("no runner to be left", || async { fake.registered().is_empty().then_some(()) }).await;
    let by_hand = |fate: Option<RunnerFate>| fate == Some(RunnerFate::DeletedByHand);
    assert!(!fake.runners().iter().any(|runner| by_hand(runner.fate)), "{:#?}", fake.runners());
}

fn exited(code: i32) -> Outcome {
    Outcome::Exited { code }
}

/// Long enough to be never, in a test.
const NEVER: Duration = Duration::from_secs(3600);
