//! The life of runners and jobs at servers of every release.

use std::time::Duration;

use fireactions_gitea::webhook::{Event, parse, verify};
use fireactions_gitea::{
    Conclusion, Error, Gitea, JobStatus, Jobs, Kind, RunnerStatus, Settings, runner_file,
};
use fireactions_model::Secret;
use fireactions_testkit::gitea::runner::{FakeRunner, Outcome};
use fireactions_testkit::gitea::{FakeGitea, Release, Scope as Owner};
use jiff::SignedDuration;

use crate::common::{Source, client_of, registration, scope, settings};

const LABELS: [&str; 2] = ["ubuntu-24.04", "self"];

fn kind(release: Release) -> Kind {
    if release.is_gitea() { Kind::Gitea } else { Kind::Forgejo }
}

/// The organization `acme`, the user's own repository `boss/tool`, and a client with a token that has these scopes.
fn people(fake: &FakeGitea, scopes: &[&str]) -> Settings {
    fake.site_admin("boss");
    fake.organization("acme", "boss");
    fake.repository("acme/app");
    fake.repository("boss/tool");
    let token = Some(Source::new(&fake.token("boss", scopes)).source());
    Settings { token, ..settings(kind(fake.release()), &fake.url()) }
}

fn pools() -> Vec<Vec<String>> {
    vec![LABELS.map(|label| format!("{label}:host")).to_vec()]
}

#[tokio::test]
async fn a_job_from_its_beginning_to_its_end() {
    for release in Release::ALL {
        let fake = FakeGitea::local(release);
        let client = client_of(people(&fake, &["all"]));
        let can = client.server().await.unwrap().capabilities();
        for (place, repository) in [
            ("orgs/acme", "acme/app"),
            ("repos/acme/app", "acme/app"),
            ("user", "boss/tool"),
            ("instance", "acme/app"),
        ] {
            let said = format!("{release:?} {place}");
            let place = scope(place);
            let queued = fake.queue_job(repository, &["ubuntu-24.04"]);
            let mut known = None;
            if can.jobs != Jobs::None {
                let jobs = client.jobs(&place, &pools()).await.unwrap();
                let job = jobs.into_iter().find(|job| job.id.get() == queued.0).expect(&said);
                assert_eq!(
                    (job.status, job.runs_on.as_slice()),
                    (JobStatus::Waiting, &["ubuntu-24.04".to_owned()][..])
                );
                assert_eq!(job.handle.is_some(), can.handles, "{said}");
                known = Some(job);
            }
            let registered = client.register(&place, &registration()).await.expect(&said);
            assert_eq!(registered.ephemeral, can.ephemeral, "{said}");
            if can.runner_api {
                let runners = client.runners(&place).await.unwrap();
                let runner = runners.iter().find(|runner| runner.id == registered.id).expect(&said);
                assert_eq!(
                    (runner.name.as_str(), runner.status, runner.busy),
                    ("fa-1", RunnerStatus::Offline, false)
                );
            }
            let file = runner_file::act_runner(&registered, "fa-1", &fake.url(), &pools()[0], true);
            let runner = FakeRunner::from_file(file.expose());
            runner.declare(&LABELS).await.unwrap();
            let task = match known.as_ref().and_then(|job| job.handle.as_deref()) {
                Some(handle) => runner.fetch_single(handle).await.unwrap(),
                None => runner.fetch().await.unwrap(),
            };
            let task = task.expect(&said);
            runner.heartbeat(&task).await.unwrap();
            if let Some(job) = &known {
                let jobs = client.jobs(&place, &pools()).await.unwrap();
                let running = jobs.into_iter().find(|now| now.id == job.id).expect(&said);
                assert_eq!(running.status, JobStatus::Running, "{said}");
                known = Some(running);
            }
            runner.finish(&task, Outcome::Failure).await.unwrap();
            if let Some(job) = &known {
                let ended = client.job(job).await.unwrap().expect(&said);
                assert_eq!(
                    (ended.status, ended.conclusion),
                    (JobStatus::Done, Some(Conclusion::Failure)),
                    "{said}"
                );
                assert_eq!(ended.repository.as_deref(), Some(repository), "{said}");
                assert_eq!(ended.workflow.as_deref(), Some("ci.yml"), "{said}");
            }
            if can.runner_api {
                assert!(
                    client.runners(&place).await.unwrap().iter().all(|runner| runner.id != registered.id),
                    "{said}"
                );
                client.delete_runner(&place, registered.id).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_job_that_is_cancelled_is_seen_to_be() {
    for release in [Release::GITEA, Release::FORGEJO] {
        let fake = FakeGitea::local(release);
        let client = client_of(people(&fake, &["all"]));
        let place = scope("orgs/acme");
        let (waiting, running) =
            (fake.queue_job("acme/app", &["other"]), fake.queue_job("acme/app", &["ubuntu-24.04"]));
        let registered = client.register(&place, &registration()).await.unwrap();
        let runner = FakeRunner::new(&fake.url(), &registered.uuid, registered.token.expose());
        runner.declare(&LABELS).await.unwrap();
        let task = runner.fetch().await.unwrap().unwrap();
        runner.heartbeat(&task).await.unwrap();
        let jobs = client.jobs(&place, &pools()).await.unwrap();
        let known = |id: u64| jobs.iter().find(|job| job.id.get() == id).unwrap();
        fake.cancel(waiting);
        fake.cancel(running);
        let ended = client.job(known(running.0)).await.unwrap().unwrap();
        assert_eq!(ended.conclusion, Some(Conclusion::Cancelled));
        // Forgejo forgets a job that nobody had.
        let never = client.job(known(waiting.0)).await.unwrap();
        assert_eq!(never.is_some(), release.is_gitea());
        assert!(never.is_none_or(|job| job.conclusion == Some(Conclusion::Cancelled)));
        assert!(client.jobs(&place, &pools()).await.unwrap().is_empty());
        assert_eq!(client.delete_runner(&place, registered.id).await, Ok(()), "it is gone already");
    }
}

#[tokio::test]
async fn runners_by_the_dozen_on_small_pages() {
    for release in [Release::GITEA, Release::FORGEJO] {
        let fake = FakeGitea::local(release);
        let client = client_of(people(&fake, &["all"]));
        fake.set_page_cap(7);
        let place = scope("orgs/acme");
        let mut ids = Vec::new();
        for _ in 0..30 {
            ids.push(client.register(&place, &registration()).await.unwrap().id);
        }
        let listed: Vec<_> =
            client.runners(&place).await.unwrap().into_iter().map(|runner| runner.id).collect();
        assert_eq!(listed, ids);
        for id in ids {
            client.delete_runner(&place, id).await.unwrap();
        }
        assert_eq!(client.runners(&place).await, Ok(Vec::new()));
    }
}

#[tokio::test]
async fn a_long_queue_on_small_pages() {
    for release in [Release::GITEA, Release::FORGEJO] {
        let fake = FakeGitea::local(release);
        let client = client_of(people(&fake, &["all"]));
        fake.set_page_cap(20);
        fake.queue_jobs("acme/app", &["ubuntu-24.04"], 1_000);
        let jobs = client.jobs(&scope("orgs/acme"), &pools()).await.unwrap();
        assert_eq!(jobs.len(), 1_000);
        assert!(jobs.is_sorted_by_key(|job| job.id));
    }
}

#[tokio::test]
async fn what_a_server_may_do() {
    for release in [Release::GITEA, Release::FORGEJO] {
        let (fake, certificate) = FakeGitea::local_tls(release);
        fake.set_prefix("/git");
        let trusting = Settings { ca_pem: Some(certificate.into_bytes()), ..people(&fake, &["all"]) };
        let strange = client_of(Settings { ca_pem: None, ..trusting.clone() });
        let error = strange.server().await.unwrap_err();
        assert!(
            matches!(error, Error::Unreachable { .. }) && error.to_string().contains("certificate"),
            "{error}"
        );
        let client = client_of(trusting);
        let place = scope("orgs/acme");
        fake.queue_job("acme/app", &["ubuntu-24.04"]);
        fake.set_clock_offset(SignedDuration::from_hours(-30));
        assert_eq!(client.jobs(&place, &pools()).await.unwrap().len(), 1);
        let access = client.access(&place).await.unwrap();
        assert!(access.is_enough(), "{:?}", access.checks);
        let clock = access.clock.unwrap();
        assert!((clock + SignedDuration::from_hours(30)).abs() < SignedDuration::from_mins(5), "{clock}");
        for (method, path) in [
            ("GET", "/api/v1/orgs/*/actions/runners"),
            ("POST", "/api/v1/orgs/*/actions/runners"),
            ("POST", "/api/v1/orgs/*/actions/runners/registration-token"),
            ("POST", "/api/actions/runner.v1.RunnerService/Register"),
        ] {
            fake.database_locked(method, path, 2);
        }
        let registered = client.register(&place, &registration()).await.unwrap();
        assert!(client.runners(&place).await.unwrap().iter().any(|runner| runner.id == registered.id));
        fake.clear_faults();
        fake.redirect(Some((308, "https://git.example")));
        let error = client.runners(&place).await.unwrap_err();
        assert!(
            matches!(error, Error::Unexpected { .. }) && error.to_string().contains("https://git.example"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_token_with_too_small_a_scope() {
    for release in [Release::GITEA, Release::FORGEJO] {
        let fake = FakeGitea::local(release);
        let small = client_of(people(&fake, &["read:organization"]));
        let place = scope("orgs/acme");
        assert_eq!(small.jobs(&place, &pools()).await, Ok(Vec::new()));
        let error = small.register(&place, &registration()).await.unwrap_err();
        assert!(error.to_string().ends_with("create a token with the scope write:organization"), "{error}");
        let access = small.access(&place).await.unwrap();
        assert!(access.missing.contains(&"write:organization".to_owned()), "{:?}", access.missing);
        assert!(fake.runners().is_empty(), "nothing was registered");
    }
}

#[tokio::test]
async fn a_registration_token_by_hand() {
    for release in Release::ALL {
        let fake = FakeGitea::local(release);
        let with_token = people(&fake, &["all"]);
        let by_hand = fake.registration_token(&Owner::Organization("acme".into()));
        let registration_token = Some(Source::new(&by_hand).source());
        let client = client_of(Settings { token: None, registration_token, ..with_token });
        let registered = client.register(&scope("orgs/acme"), &registration()).await.unwrap();
        let runner = FakeRunner::new(&fake.url(), &registered.uuid, registered.token.expose());
        fake.queue_job("acme/app", &["ubuntu-24.04"]);
        assert!(runner.one_job(&LABELS, Outcome::Success).await.unwrap().is_some(), "{release:?}");
        assert!(client.jobs(&scope("orgs/acme"), &pools()).await.is_err());
    }
}

#[tokio::test]
async fn a_server_that_is_upgraded_can_do_more() {
    let old = Release::ALL[2];
    let fake = FakeGitea::local(old);
    let client: Gitea = client_of(people(&fake, &["all"]));
    let place = scope("orgs/acme");
    let error = client.jobs(&place, &pools()).await.unwrap_err();
    assert!(
        error.to_string().contains("Gitea 1.24.7 has no API that lists waiting jobs; upgrade to 1.25"),
        "{error}"
    );
    assert_eq!(client.runners(&place).await, Ok(Vec::new()));
    fake.upgrade(Release::GITEA);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3601)).await;
    tokio::time::resume();
    assert_eq!(client.jobs(&place, &pools()).await, Ok(Vec::new()));
}

#[tokio::test]
async fn what_a_webhook_is_told_is_what_the_list_tells() {
    let fake = FakeGitea::local(Release::GITEA);
    let client = client_of(people(&fake, &["all"]));
    let queued = fake.queue_job("acme/app", &["ubuntu-24.04"]);
    let body = fake.payload(queued).to_string();
    let secret = "a secret";
    let signature = fireactions_testkit::gitea::sign(secret, body.as_bytes());
    let proof = verify(&[Secret::new(secret)], "application/json", body.as_bytes(), Some(&signature), None);
    assert_eq!(proof, Ok(()));
    let Event::WorkflowJob(event) = parse("workflow_job", "application/json", body.as_bytes()).unwrap()
    else {
        panic!()
    };
    let listed = client.jobs(&scope("repos/acme/app"), &pools()).await.unwrap().remove(0);
    let mut told = event.job;
    // Deliveries tell this beside.
    assert_eq!(told.actor.take().as_deref(), Some("boss"));
    assert_eq!((event.action.as_str(), &told), ("queued", &listed));
}

/// Calls are made from tasks that move from thread to thread.
#[tokio::test]
async fn every_call_can_be_made_in_a_task() {
    let fake = FakeGitea::local(Release::FORGEJO);
    let client = client_of(people(&fake, &["all"]));
    fake.queue_job("acme/app", &["ubuntu-24.04"]);
    let task = tokio::spawn(async move {
        let place = scope("orgs/acme");
        let registered = client.register(&place, &registration()).await.unwrap();
        let job = client.jobs(&place, &pools()).await.unwrap().remove(0);
        assert!(client.job(&job).await.unwrap().is_some());
        assert_eq!(client.runners(&place).await.unwrap().len(), 1);
        client.delete_runner(&place, registered.id).await.unwrap();
        client.access(&place).await.unwrap().is_enough()
    });
    assert!(task.await.unwrap());
}
