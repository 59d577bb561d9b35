//! Whose a runner's job is, the host's cache of jobs hears from the forge alone.

use std::sync::Arc;
use std::time::Duration;

use fireactions_model::JobRecord;
use fireactions_testkit::gitea::{FakeGitea, Fault, JobId, JobRequest, JobStatus, Release, Workflow};

use super::farm::{Farm, Setup, pool, server};
use super::standing::standing;
use super::{NEVER, NEWEST, ended, settled};
use crate::common::told::Told;
use crate::github::farm::until;

/// A job of a repository in a run of its own.
fn push(fake: &FakeGitea, repository: &str, step: &str) -> JobId {
    let job = JobRequest::new("build", &["debian"]).steps(&[("step", step)]);
    fake.begin(Workflow::push(repository, vec![job]))[0]
}

fn row_of(rows: &[JobRecord], job: JobId) -> JobRecord {
    let is_its = |row: &&JobRecord| row.remote.as_ref().is_some_and(|remote| remote.id == Some(job.0));
    rows.iter().find(is_its).unwrap_or_else(|| panic!("no row of {job:?}: {rows:#?}")).clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cache_hears_from_the_forge_whose_each_job_is_and_of_its_end() {
    for release in NEWEST {
        let (fake, token) = server(release);
        let told = Arc::new(Told::default());
        let setup = Setup {
            caches: Some(told.clone()),
            ..Setup::new(&token, vec![pool(&fake, "p", &["debian"], 3)])
        };
        let farm = Farm::start(&fake, &setup).await;
        let repositories = ["acme/app", "acme/other", "acme/app"];
        let jobs = repositories.map(|repository| push(&fake, repository, "gate"));
        let confirmed = until("each to be known", || async {
            let machines = told.machines.lock().unwrap();
            let all = machines.len() == 3 && machines.values().all(|said| said.len() == 2);
            all.then(|| machines.keys().cloned().collect::<Vec<_>>())
        })
        .await;
        assert_eq!(confirmed.len(), 3);
        farm.gates.open("gate");
        assert_eq!(ended(&fake, &jobs).await, [JobStatus::Success; 3]);
        let rows = settled(&farm, 3).await;
        for (job, repository) in jobs.into_iter().zip(repositories) {
            let machine = row_of(&rows, job).machine.unwrap();
            let event = format!("{repository} push refs/heads/main");
            assert_eq!(told.of(&machine), ["admitted", &event, "ended"], "{release:?}");
        }
        farm.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_runner_says_it_has_is_looked_for_at_once() {
    let (fake, token) = server(Release::GITEA);
    let told = Arc::new(Told::default());
    let setup =
        Setup { caches: Some(told.clone()), poll: NEVER, ..Setup::new(&token, vec![standing(&fake, 1, 1)]) };
    let farm = Farm::start(&fake, &setup).await;
    let job = push(&fake, "acme/app", "gate");
    // No list is due for an hour.
    until("the job to be known", || async {
        let machines = told.machines.lock().unwrap();
        machines.values().any(|said| said.len() == 2).then_some(())
    })
    .await;
    farm.gates.open("gate");
    assert_eq!(ended(&fake, &[job]).await, [JobStatus::Success]);
    farm.stop().await;
}

/// A token may never be allowed to know: it is asked less and less often, however often the list is looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forge_that_does_not_tell_whose_a_job_is_is_asked_less_and_less() {
    let (fake, token) = server(Release::GITEA);
    let told = Arc::new(Told::default());
    let setup =
        Setup { caches: Some(told.clone()), ..Setup::new(&token, vec![pool(&fake, "p", &["debian"], 1)]) };
    fake.fault(Fault::on("GET", "/api/v1/repos/*/*/actions/runs/*").times(1000).status(403, "{}"));
    let farm = Farm::start(&fake, &setup).await;
    let job = push(&fake, "acme/app", "gate");
    let asked = || fake.count("GET", "/api/v1/repos/*/*/actions/runs/*");
    let looked = || fake.count("GET", "/api/v1/orgs/*/actions/jobs");
    let before = until("it to be asked", || async { (asked() > 0).then(looked) }).await;
    until("thirty looks", || async { (looked() >= before + 30).then_some(()) }).await;
    assert!(asked() <= 5, "{} times in 30 looks", asked());
    farm.gates.open("gate");
    assert_eq!(ended(&fake, &[job]).await, [JobStatus::Success]);
    farm.stop().await;
}

/// A runner that no handle binds says itself which job it has, and a job could speak for it: nothing of that is believed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_whose_job_only_it_tells_gets_no_cache() {
    let (fake, token) = server(Release::FORGEJO);
    let told = Arc::new(Told::default());
    let setup = Setup { caches: Some(told.clone()), ..Setup::new(&token, vec![standing(&fake, 1, 2)]) };
    let farm = Farm::start(&fake, &setup).await;
    let job = push(&fake, "acme/app", "gate");
    until("its row to know the job", || async {
        let rows = farm.rows().await;
        rows.into_iter().find(|row| row.remote.as_ref().is_some_and(|remote| remote.id == Some(job.0)))
    })
    .await;
    let row = row_of(&farm.rows().await, job);
    assert_eq!(row.remote.unwrap().handle, None, "a handle is what a runner asked for, not what it has");
    assert!(told.of(&row.machine.unwrap()).is_empty());
    farm.gates.open("gate");
    assert_eq!(ended(&fake, &[job]).await, [JobStatus::Success]);
    farm.stop().await;
}

/// Without a list of jobs that names the runner, nothing is confirmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_token_alone_gets_no_cache() {
    let (fake, _) = server(Release::GITEA);
    let token = fake.registration_token(&fireactions_testkit::gitea::Scope::Organization("acme".to_owned()));
    let told = Arc::new(Told::default());
    let setup = Setup {
        token: None,
        registration: Some(token),
        caches: Some(told.clone()),
        surplus: Duration::from_secs(90),
        ..Setup::new("", vec![standing(&fake, 1, 1)])
    };
    let farm = Farm::start(&fake, &setup).await;
    let job = push(&fake, "acme/app", "succeed");
    assert_eq!(ended(&fake, &[job]).await, [JobStatus::Success]);
    until("its row to end", || async {
        farm.rows().await.iter().any(|row| row.state.is_final()).then_some(())
    })
    .await;
    let all = told.machines.lock().unwrap().values().flatten().cloned().collect::<Vec<_>>();
    assert!(all.iter().all(|said| said == "ended"), "{all:?}");
    farm.stop().await;
}
