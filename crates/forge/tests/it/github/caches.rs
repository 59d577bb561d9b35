//! Whose a runner's job is, the host's cache of jobs hears from GitHub alone.

use std::sync::Arc;
use std::time::Duration;

use fireactions_model::{Forge as _, JobRecord, Offer};
use fireactions_testkit::github::{FakeGithub, Fault, JobId, JobRequest};

use super::farm::{Farm, SECRET, Setup, gate, github, open_gate, pool, until};
use super::queue::door;
use super::{all_well, completed};
use crate::common::told::Told;

const RUN: &str = "GET /repos/{owner}/{repo}/actions/runs/{run_id}";

/// A farm of one scale set, and what its cache is told.
async fn farm(fake: &FakeGithub, setup: Setup) -> (Farm, Arc<Told>) {
    fake.set_message_poll(Duration::from_millis(300));
    let told = Arc::new(Told::default());
    let farm = Farm::start(fake, &Setup { caches: Some(told.clone()), ..setup }).await;
    (farm, told)
}

fn job(farm: &Farm) -> JobRequest {
    JobRequest::new("acme/widgets", &["fast"], &gate(farm, "gate"))
}

/// What the cache was told of the machine that had this job.
fn told_of(told: &Told, fake: &FakeGithub, rows: &[JobRecord], job: JobId) -> Vec<String> {
    let job = fake.job(job);
    let has =
        |row: &&JobRecord| row.remote.as_ref().is_some_and(|its| its.runner.as_deref() == job.runner_name());
    told.of(rows.iter().find(has).unwrap().machine.as_ref().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cache_hears_whose_each_job_is_and_of_its_end() {
    let (fake, app) = github();
    let (farm, told) = farm(&fake, Setup::new(&app, vec![pool("set", &["debian"], 4, Some("fast"))])).await;
    let requests = [
        (job(&farm), "push refs/heads/main"),
        (job(&farm).caused("push", "v1", "ci.yml@refs/tags/v1"), "push refs/tags/v1"),
        (
            job(&farm).caused("pull_request", "main", "ci.yml@refs/pull/7/merge"),
            "pull_request refs/pull/7/merge",
        ),
        // A topic's own workflow calls that of main.
        (
            job(&farm)
                .caused("push", "main", "topic.yml@refs/heads/main")
                .calling("acme/widgets/.github/workflows/ci.yml@refs/heads/main"),
            "push ?",
        ),
    ];
    let jobs: Vec<_> = requests.iter().map(|(request, _)| fake.queue_job(request.clone())).collect();
    until("each to be known", || async {
        let machines = told.machines.lock().unwrap();
        (machines.len() == 4 && machines.values().all(|said| said.len() == 2)).then_some(())
    })
    .await;
    open_gate(&farm, "gate");
    completed(&fake, &jobs).await;
    let rows = until("the end of each", || async {
        let over = told.machines.lock().unwrap().values().all(|said| said.len() == 3);
        if over { Some(farm.rows().await) } else { None }
    })
    .await;
    for (job, (_, cause)) in jobs.iter().zip(requests) {
        let cause = format!("acme/widgets {cause}");
        assert_eq!(told_of(&told, &fake, &rows, *job), ["admitted", &cause, "ended"]);
    }
    farm.stop().await;
    all_well(&fake, &jobs);
}

/// The queue tells once that a job began, and the server that heard it may be gone before it was answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_was_not_told_the_next_one_asks() {
    let (fake, app) = github();
    let pool = pool("set", &["debian"], 1, Some("fast"));
    fake.fault(Fault::on("GET", "/repos/*/*/actions/runs/*").times(1000).status(403, "{}"));
    let (first, told) = farm(&fake, Setup::new(&app, vec![pool.clone()])).await;
    fake.queue_job(job(&first));
    until("it to be asked", || async { (fake.calls().of(RUN) > 0).then_some(()) }).await;
    let machine = told.machines.lock().unwrap().keys().next().unwrap().clone();
    assert_eq!(told.of(&machine), ["admitted"]);
    let dir = first.kill().await;

    fake.clear_faults();
    fake.drop_session(fake.scale_sets()[0].0);
    let told = Arc::new(Told::default());
    let setup = Setup { machines: false, caches: Some(told.clone()), ..Setup::new(&app, vec![pool.clone()]) };
    let second = Farm::open(&fake.url(), &setup, dir).await;
    let offer = Offer { machine: machine.clone(), shape: pool.shape.clone(), pool: pool.into() };
    // As a machine that is there already does.
    second.forges().acquire(&offer).await.unwrap();
    until("it to be known", || async { (told.of(&machine).len() == 2).then_some(()) }).await;
    assert_eq!(told.of(&machine), ["admitted", "acme/widgets push refs/heads/main"]);
    second.stop().await;
}

/// A webhook tells of every runner of a name, also of one that somebody has registered at a repository of theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_of_the_same_name_elsewhere_does_not_change_whose_a_job_is() {
    let (fake, app) = github();
    let (farm, told) = farm(&fake, Setup::new(&app, vec![pool("set", &["debian"], 1, Some("fast"))])).await;
    fake.fault(Fault::on("GET", "/repos/*/*/actions/runs/*").times(1).status(403, "{}"));
    let ours = fake.queue_job(job(&farm));
    until("it to be asked", || async { (fake.calls().of(RUN) > 0).then_some(()) }).await;
    let row = farm.rows().await.remove(0);
    // As a delivery of the webhook writes it down.
    let change = |remote: &mut fireactions_model::RemoteJob| {
        remote.repository = Some("evil/widgets".to_owned());
        remote.run_id = Some(1);
    };
    farm.store.update_remote(&row.id, change).await.unwrap();
    let machine = row.machine.unwrap();
    until("it to be known", || async { (told.of(&machine).len() == 2).then_some(()) }).await;
    assert_eq!(told.of(&machine)[1], "acme/widgets push refs/heads/main");
    open_gate(&farm, "gate");
    completed(&fake, &[ours]).await;
    farm.stop().await;
}

/// What its runner says of its job is a guest's word, and GitHub's queue is not asked by those without a set.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_without_a_scale_set_gets_no_cache() {
    let (fake, app) = github();
    let (farm, told) = farm(&fake, Setup::new(&app, vec![pool("alone", &["debian"], 1, None)])).await;
    fake.webhook(&door(farm.github.clone()).await, SECRET);
    let done = fake.queue_job(JobRequest::new("acme/widgets", &["debian"], "true"));
    completed(&fake, &[done]).await;
    let said = until("its end", || async { told.machines.lock().unwrap().values().next().cloned() }).await;
    assert_eq!(said, ["ended"]);
    farm.stop().await;
}
