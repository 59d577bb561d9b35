//! Runners follow the queue.

use std::collections::BTreeSet;
use std::time::Duration;

use fireactions_forge::{Answer, Delivery};
use fireactions_model::JobState;
use fireactions_testkit::gitea::{Fault, JobStatus, Major, Minor, Release, Scope};

use super::farm::{Farm, SECRET, Setup, of_scope, pool, server};
use super::{NEVER, NEWEST, ended, exited, nothing_is_left, push, settled};
use crate::github::farm::until;
use crate::github::queue::door;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_jobs_at_once_run_in_a_pool_of_three_each_in_a_runner_of_its_own() {
    for release in NEWEST {
        let (fake, token) = server(release);
        let setup = Setup::new(&token, vec![pool(&fake, "p", &["debian"], 3)]);
        let farm = Farm::start(&fake, &setup).await;
        let jobs: Vec<_> = (0..20).map(|_| push(&fake, &["debian"], "succeed")).collect();
        let odd = push(&fake, &["no-such-label"], "succeed");
        assert_eq!(ended(&fake, &jobs).await, [JobStatus::Success; 20], "{release:?}");
        let rows = settled(&farm, 20).await;
        assert_eq!(rows.len(), 20, "{release:?}: one machine for each job");
        let runners: BTreeSet<_> = jobs.iter().map(|job| fake.job(*job).runner).collect();
        assert_eq!(runners.len(), 20, "{release:?}: no runner had two jobs");
        let numbers: BTreeSet<u64> = jobs.iter().map(|job| job.0).collect();
        let known = rows.iter().filter_map(|row| row.remote.as_ref()?.id).collect::<BTreeSet<u64>>();
        assert_eq!(known, numbers, "{release:?}: each row knows its job");
        for row in &rows {
            assert_eq!((row.state, row.outcome.clone()), (JobState::Succeeded, Some(exited(0))), "{row:#?}");
            let remote = row.remote.as_ref().unwrap();
            assert_eq!(
                (remote.forge.as_str(), remote.scope.as_str(), remote.repository.as_deref()),
                ("work", "orgs/acme", Some("acme/app"))
            );
            assert_eq!(remote.conclusion.as_deref(), Some("success"));
            assert_eq!(remote.name.as_deref(), Some("build"));
        }
        assert_eq!(fake.job(odd).status, JobStatus::Waiting);
        nothing_is_left(&fake).await;
        farm.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_goes_to_the_scope_and_the_labels_that_it_asks_for() {
    for release in NEWEST {
        let (fake, token) = server(release);
        let pools = vec![
            pool(&fake, "large", &["debian", "gpu:host"], 2),
            of_scope(&fake, "app", "repos/acme/app", &["Debian"], 2),
        ];
        let farm = Farm::start(&fake, &Setup::new(&token, pools)).await;
        let jobs = [push(&fake, &["gpu"], "succeed"), push(&fake, &["Debian"], "succeed")];
        ended(&fake, &jobs).await;
        let rows = settled(&farm, 2).await;
        let scopes: BTreeSet<_> = rows
            .iter()
            .map(|row| (row.pool.clone().unwrap().to_string(), row.remote.clone().unwrap().scope))
            .collect();
        let expected = [("app", "repos/acme/app"), ("large", "orgs/acme")];
        assert_eq!(scopes, expected.map(|(pool, scope)| (pool.to_owned(), scope.to_owned())).into());
        farm.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_tells_at_once_and_what_nobody_signed_is_nobodys() {
    let (fake, token) = server(Release::GITEA);
    let mut setup = Setup::new(&token, vec![pool(&fake, "p", &["debian"], 2)]);
    setup.poll = NEVER;
    let farm = Farm::start(&fake, &setup).await;
    let asked = "/api/v1/orgs/acme/actions/jobs";
    until("the queue to be read", || async { (fake.count("GET", asked) > 0).then_some(()) }).await;
    let owner = Scope::Organization("acme".to_owned());
    let url = door(farm.forge.clone()).await;
    fake.webhook(&owner, &url, "");
    push(&fake, &["debian"], "succeed");
    fake.wait_delivered(Duration::from_secs(60));
    assert_eq!(fake.delivered().last().unwrap().answer, Ok(401), "an empty signature is none");
    fake.remove_webhooks();
    fake.webhook(&owner, &url, SECRET);
    let job = push(&fake, &["debian"], "succeed");
    assert_eq!(ended(&fake, &[job]).await, [JobStatus::Success]);
    let rows = settled(&farm, 1).await;
    // A runner may have had the first of the two, which waits as well.
    assert_eq!(rows[0].outcome, Some(exited(0)), "{rows:#?}");
    assert_eq!(rows[0].remote.as_ref().unwrap().conclusion.as_deref(), Some("success"));
    let nothing = |_: &str| None;
    assert_eq!(farm.forge.deliver(Delivery { header: &nothing, body: b"{}" }).await, Answer::Forged);
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_end_no_webhook_told_is_taken_off_the_queue() {
    let (fake, token) = server(Release::GITEA);
    let farm = Farm::start(&fake, &Setup::new(&token, vec![pool(&fake, "p", &["debian"], 0)])).await;
    let url = door(farm.forge.clone()).await;
    fake.webhook(&Scope::Organization("acme".to_owned()), &url, SECRET);
    let job = push(&fake, &["debian"], "succeed");
    fake.wait_delivered(Duration::from_secs(60));
    until("it to be heard of", || async { (farm.forge.queued(9).len() == 1).then_some(()) }).await;
    fake.remove_webhooks();
    fake.cancel(job);
    until("it to be gone", || async { farm.forge.queued(9).is_empty().then_some(()) }).await;
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_has_no_list_of_jobs_tells_of_them_by_its_webhook() {
    let (fake, token) = server(Release::Gitea(Minor::V24));
    let farm = Farm::start(&fake, &Setup::new(&token, vec![pool(&fake, "p", &["debian"], 3)])).await;
    fake.webhook(&Scope::Organization("acme".to_owned()), &door(farm.forge.clone()).await, SECRET);
    let jobs = ["succeed", "fail", "a-gate-that-nobody-opens"].map(|step| push(&fake, &["debian"], step));
    ended(&fake, &jobs[..2]).await;
    until("the third to be seen running", || async {
        let rows = farm.rows().await;
        let ids: Vec<_> = rows.iter().filter_map(|row| row.remote.as_ref()?.id).collect();
        (fake.job(jobs[2]).status == JobStatus::Running && ids.contains(&jobs[2].0)).then_some(())
    })
    .await;
    fake.cancel(jobs[2]);
    settled(&farm, 3).await;
    let [good, bad, long] = jobs.map(|job| Some(job.0));
    let expected = [(good, "succeeded"), (bad, "failed"), (long, "cancelled")];
    let expected = BTreeSet::from(expected.map(|(id, state)| (id, state.to_owned())));
    // What the webhook tells may come after the runner's end.
    until("each row to know its job and its end", || async {
        let rows = farm.rows().await;
        let found = rows.iter().map(|row| (row.remote.as_ref().unwrap().id, row.state.to_string()));
        (found.collect::<BTreeSet<_>>() == expected).then_some(())
    })
    .await;
    nothing_is_left(&fake).await;
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_servers_do_what_they_can() {
    for release in [Release::Gitea(Minor::V25), Release::Forgejo(Major::V11), Release::Forgejo(Major::V14)] {
        let (fake, token) = server(release);
        let farm = Farm::start(&fake, &Setup::new(&token, vec![pool(&fake, "p", &["debian"], 2)])).await;
        let jobs: Vec<_> = (0..4).map(|_| push(&fake, &["debian"], "succeed")).collect();
        assert_eq!(ended(&fake, &jobs).await, [JobStatus::Success; 4], "{release:?}");
        let rows = settled(&farm, 4).await;
        assert!(rows.iter().all(|row| row.outcome == Some(exited(0))), "{release:?} {rows:#?}");
        farm.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_question_for_each_scope_however_many_pools_and_jobs() {
    let (fake, token) = server(Release::GITEA);
    let pools = ["a", "b", "c"].map(|name| pool(&fake, name, &[name], 0));
    let mut setup = Setup::new(&token, pools.to_vec());
    setup.poll = Duration::from_millis(300);
    fake.queue_jobs("acme/app", &["a"], 100);
    let farm = Farm::start(&fake, &setup).await;
    until("all to be heard of", || async { (farm.forge.queued(200).len() == 100).then_some(()) }).await;
    let pages =
        |fake: &fireactions_testkit::gitea::FakeGitea| fake.count("GET", "/api/v1/orgs/acme/actions/jobs");
    let (before, all) = (pages(&fake), fake.calls());
    until("two more looks", || async { (pages(&fake) >= before + 4).then_some(()) }).await;
    assert!(fake.calls() - all <= 8, "two pages a look, and nothing else: {:#?}", fake.requests());
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_of_five_thousand_jobs_is_read_whatever_a_page_has() {
    let (fake, token) = server(Release::GITEA);
    fake.set_page_cap(37);
    fake.queue_jobs("acme/app", &["other"], 4_990);
    let jobs: Vec<_> = (0..10).map(|_| push(&fake, &["debian"], "succeed")).collect();
    let mut setup = Setup::new(&token, vec![pool(&fake, "p", &["debian"], 5)]);
    setup.poll = Duration::from_secs(1);
    let farm = Farm::start(&fake, &setup).await;
    assert_eq!(ended(&fake, &jobs).await, [JobStatus::Success; 10]);
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_of_one_organization_leave_each_other_alone() {
    for release in NEWEST {
        let (fake, token) = server(release);
        let mut setup = Setup::new(&token, vec![pool(&fake, "p", &["debian"], 2)]);
        setup.audit = Duration::from_millis(300);
        setup.surplus = Duration::from_millis(300);
        let farms = [Farm::start(&fake, &setup).await, Farm::start(&fake, &setup).await];
        let jobs: Vec<_> = (0..8).map(|_| push(&fake, &["debian"], "succeed")).collect();
        assert_eq!(ended(&fake, &jobs).await, [JobStatus::Success; 8], "{release:?}");
        nothing_is_left(&fake).await;
        for farm in farms {
            // A runner whose job the other server's took is no failure of anybody's.
            let rows = settled(&farm, 0).await;
            assert!(
                rows.iter().all(|row| !row.notes.iter().any(|note| note.starts_with("unused"))),
                "{rows:#?}"
            );
            farm.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_and_a_prefix_and_a_clock_are_no_riddles() {
    for release in NEWEST {
        let (fake, token) = server(release);
        fake.set_prefix("/git");
        fake.set_clock_offset(jiff::SignedDuration::from_hours(-5));
        let farm = Farm::start(&fake, &Setup::new(&token, vec![pool(&fake, "p", &["debian"], 2)])).await;
        let job = push(&fake, &["debian"], "succeed");
        assert_eq!(ended(&fake, &[job]).await, [JobStatus::Success], "{release:?}");
        settled(&farm, 1).await;
        fake.redirect(Some((301, "https://git.example")));
        let name = farm.rows().await[0].pool.clone().unwrap();
        let told = until("the redirect to be told", || async { farm.forge.problem(&name) }).await;
        assert!(told.contains("https://git.example"), "{told}");
        fake.redirect(None);
        until("it to be well again", || async { farm.forge.problem(&name).is_none().then_some(()) }).await;
        farm.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_database_costs_time_and_no_job() {
    for release in NEWEST {
        let (fake, token) = server(release);
        let farm = Farm::start(&fake, &Setup::new(&token, vec![pool(&fake, "p", &["debian"], 2)])).await;
        fake.database_locked("*", "/api/**", 12);
        let jobs: Vec<_> = (0..3).map(|_| push(&fake, &["debian"], "succeed")).collect();
        assert_eq!(ended(&fake, &jobs).await, [JobStatus::Success; 3], "{release:?}");
        fake.fault(Fault::on("*", "/api/**").times(5).reset());
        let more = push(&fake, &["debian"], "succeed");
        assert_eq!(ended(&fake, &[more]).await, [JobStatus::Success], "{release:?}");
        settled(&farm, 4).await;
        nothing_is_left(&fake).await;
        farm.stop().await;
    }
}
