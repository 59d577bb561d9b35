//! The GitHub forge against a GitHub that is held to the published description: signals, runners, faults, crashes.
//! Machines are processes here; with real ones it runs in the end-to-end tests.

mod caches;
mod crash;
pub(crate) mod farm;
mod faults;
mod kill;
mod lists;
pub(crate) mod queue;
mod runners;
mod secrets;
mod shared;
mod signals;
mod storm;

use std::collections::BTreeSet;

use fireactions_testkit::github::{FakeGithub, Job, JobId, JobStatus};

/// Every job ran once and well, and neither side broke a rule.
fn all_well(fake: &FakeGithub, jobs: &[JobId]) {
    for id in jobs {
        let job = fake.job(*id);
        assert_eq!(job.conclusion.as_deref(), Some("success"), "{job:#?}");
        assert_eq!(job.runs(), 1, "{job:#?}");
    }
    let runners: BTreeSet<String> =
        jobs.iter().map(|id| fake.job(*id).runner_name().unwrap().to_owned()).collect();
    assert_eq!(runners.len(), jobs.len(), "no runner had two jobs");
    no_violations(fake);
}

fn no_violations(fake: &FakeGithub) {
    assert_eq!(fake.violations(), Vec::<String>::new());
}

/// Waits for the end of all these jobs, without holding the runtime's thread.
async fn completed(fake: &FakeGithub, jobs: &[JobId]) -> Vec<Job> {
    let all = || jobs.iter().map(|id| fake.job(*id)).collect::<Vec<Job>>();
    let done = farm::wait(|| async {
        let all = all();
        all.iter().all(|job| job.status == JobStatus::Completed).then_some(all)
    })
    .await;
    done.unwrap_or_else(|| {
        let open: Vec<Job> = all().into_iter().filter(|job| job.status != JobStatus::Completed).collect();
        panic!("jobs do not end: {open:#?}\nrunners: {:#?}\n{:?}", fake.runners(), fake.calls())
    })
}
