//! GitHub's lists are behind, and its runner groups do not take every job.

use std::time::Duration;

use fireactions_model::{ForgeRunner, PoolName, RunnerGroup};
use fireactions_testkit::github::{JobRequest, JobStatus, Scope};

use crate::github::farm::{Farm, SECRET, Setup, github, pool, until};
use crate::github::queue::door;
use crate::github::{all_well, completed, no_violations};

const RUNS: &str = "GET /repos/{owner}/{repo}/actions/runs";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_the_webhook_told_of_is_not_forgotten_because_no_list_has_it_yet() {
    let (fake, app) = github();
    fake.set_lists_behind(Duration::from_secs(3600));
    // Nothing takes the job, so it stays as it was heard of.
    let mut setup = Setup { machines: false, ..Setup::new(&app, vec![pool("p", &["debian"], 1, None)]) };
    setup.audit = Duration::from_millis(100);
    let farm = Farm::start(&fake, &setup).await;
    fake.webhook(&door(farm.github.clone()).await, SECRET);
    let job = fake.queue_job(JobRequest::new("acme/widgets", &["debian"], "true"));
    until("the job to be heard of", || async { (farm.github.queued(9).len() == 1).then_some(()) }).await;
    // Two questions an audit; the second whole one has begun after the job was heard of.
    let before = fake.calls().of(RUNS);
    until("two audits", || async { (fake.calls().of(RUNS) >= before + 6).then_some(()) }).await;
    assert_eq!(farm.github.queued(9).len(), 1);
    fake.cancel_job(job);
    until("its end to be heard of", || async { farm.github.queued(9).is_empty().then_some(()) }).await;
    farm.stop().await;
    no_violations(&fake);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_queued_just_before_the_server_began_is_found_by_a_second_audit() {
    let (fake, app) = github();
    fake.set_lists_behind(Duration::from_secs(3600));
    let job = fake.queue_job(JobRequest::new("acme/widgets", &["debian"], "true"));
    // Audits are an hour apart.
    let farm = Farm::start(&fake, &Setup::new(&app, vec![pool("p", &["debian"], 1, None)])).await;
    until("the first audit", || async { (fake.calls().of(RUNS) >= 2).then_some(()) }).await;
    assert_eq!(farm.github.queued(9), []);
    fake.set_lists_behind(Duration::ZERO);
    completed(&fake, &[job]).await;
    all_well(&fake, &[job]);
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_the_group_does_not_take_gets_no_runner_and_people_are_told_why() {
    let (fake, app) = github();
    fake.repository("acme/secret");
    let organization = Scope::Organization("acme".into());
    let group = fake.runner_group(&organization, "few");
    fake.select_group_repositories(&organization, group, &["acme/widgets"]);
    let mut few = pool("p", &["debian"], 2, None);
    let ForgeRunner::Github(runner) = &mut few.forge.as_mut().unwrap().runner else { panic!() };
    runner.group = RunnerGroup::Name("few".into());
    let mut setup = Setup::new(&app, vec![few]);
    setup.audit = Duration::from_millis(300);
    let farm = Farm::start(&fake, &setup).await;
    // The first audit has seen what the group takes.
    until("the first audit", || async { (fake.calls().of(RUNS) >= 4).then_some(()) }).await;
    fake.webhook(&door(farm.github.clone()).await, SECRET);
    let kept = fake.queue_job(JobRequest::new("acme/secret", &["debian"], "true"));
    let well = fake.queue_job(JobRequest::new("acme/widgets", &["debian"], "true"));
    completed(&fake, &[well]).await;
    let name = PoolName::new("p").unwrap();
    let told = until("it to be told", || async { farm.github.problem(&name) }).await;
    assert!(told.contains("jobs of acme/secret have this pool's labels"), "{told}");
    assert_eq!((fake.all_runners().len(), fake.job(kept).status), (1, JobStatus::Queued));
    // Somebody lets the group be used by it.
    fake.select_group_repositories(&organization, group, &["acme/widgets", "acme/secret"]);
    completed(&fake, &[kept]).await;
    until("it to be well again", || async { farm.github.problem(&name).is_none().then_some(()) }).await;
    all_well(&fake, &[kept, well]);
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_repository_is_for_groups_that_allow_it() {
    let (fake, app) = github();
    fake.repository("acme/open");
    fake.publish("acme/open");
    let mut setup = Setup::new(&app, vec![pool("p", &["debian"], 2, None)]);
    setup.audit = Duration::from_millis(300);
    let farm = Farm::start(&fake, &setup).await;
    let kept = fake.queue_job(JobRequest::new("acme/open", &["debian"], "true"));
    let name = PoolName::new("p").unwrap();
    let told = until("it to be told", || async { farm.github.problem(&name) }).await;
    assert!(told.contains("jobs of acme/open have this pool"), "{told}");
    assert_eq!(fake.all_runners(), []);
    fake.allow_public_repositories(&Scope::Organization("acme".into()), 1);
    completed(&fake, &[kept]).await;
    all_well(&fake, &[kept]);
    farm.stop().await;
}
