//! What goes wrong costs time, and is told; no job is lost or doubled, and no runner is left.

use std::time::Duration;

use fireactions_model::{JobState, Outcome};
use fireactions_testkit::gitea::{Fault, JobStatus};

use super::farm::{ASK, Farm, Setup, pool, server};
use super::{NEWEST, ended, exited, nothing_is_left, push, settled};
use crate::common::log::Log;
use crate::github::farm::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_may_too_little_is_told_with_the_scope_that_it_lacks() {
    for release in NEWEST {
        let (fake, _) = server(release);
        let token = fake.token("boss", &["read:repository"]);
        let setup = Setup::new(&token, vec![pool(&fake, "p", &["debian"], 2)]);
        let farm = Farm::start(&fake, &setup).await;
        let name = setup.pools[0].name.clone();
        let told = until("it to be told", || async { farm.forge.problem(&name) }).await;
        assert!(told.contains(":organization"), "{release:?}: {told}");
        farm.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forge_that_is_restarted_under_a_job_has_its_job_done() {
    for release in NEWEST {
        let (fake, token) = server(release);
        let farm = Farm::start(&fake, &Setup::new(&token, vec![pool(&fake, "p", &["debian"], 2)])).await;
        let job = push(&fake, &["debian"], "gate");
        until("it to run", || async { (fake.job(job).status == JobStatus::Running).then_some(()) }).await;
        fake.stop();
        let name = farm.rows().await[0].pool.clone().unwrap();
        until("it to be told", || async { farm.forge.problem(&name) }).await;
        tokio::task::block_in_place(|| fake.start_again());
        until("it to be well", || async { farm.forge.problem(&name).is_none().then_some(()) }).await;
        farm.gates.open("gate");
        assert_eq!(ended(&fake, &[job]).await, [JobStatus::Success], "{release:?}");
        assert_eq!(settled(&farm, 1).await[0].outcome, Some(exited(0)));
        nothing_is_left(&fake).await;
        farm.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_restarted_under_a_job_knows_how_it_ended() {
    for release in NEWEST {
        let (fake, token) = server(release);
        let setup = Setup::new(&token, vec![pool(&fake, "p", &["debian"], 2)]);
        let farm = Farm::start(&fake, &setup).await;
        let job = push(&fake, &["debian"], "a-gate-that-nobody-opens");
        until("it to run", || async { (fake.job(job).status == JobStatus::Running).then_some(()) }).await;
        let ran = farm.rows().await.into_iter().find(|row| row.state == JobState::Running).unwrap().id;
        farm.lose_machines().await;
        // There may be another: until the forge is asked again, the job waits as far as is known.
        let rows = farm.rows().await;
        let lost = rows.iter().find(|row| row.id == ran).unwrap();
        assert!(matches!(lost.outcome, Some(Outcome::Lost { .. })), "{release:?} {rows:#?}");
        let place = farm.stop().await;
        // The runner of the machine that was lost is nobody's, and goes.
        let farm = Farm::start_in(&fake, &setup, place).await;
        nothing_is_left(&fake).await;
        farm.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_that_is_deleted_by_hand_makes_room_for_one_that_gets_the_job() {
    for release in NEWEST {
        let (fake, token) = server(release);
        let mut setup = Setup::new(&token, vec![pool(&fake, "p", &["debian"], 1)]);
        setup.audit = Duration::from_millis(300);
        setup.held = true;
        let farm = Farm::start(&fake, &setup).await;
        let job = push(&fake, &["debian"], "succeed");
        // It is deleted before it asks for the job.
        farm.gates.come(ASK, 1).await;
        fake.delete_runner(fake.registered()[0].id);
        farm.gates.come(ASK, 2).await;
        farm.gates.open(ASK);
        assert_eq!(ended(&fake, &[job]).await, [JobStatus::Success], "{release:?}");
        let rows = settled(&farm, 2).await;
        let count = |state| rows.iter().filter(|row| row.state == state).count();
        let of_each = [count(JobState::Cancelled), count(JobState::Succeeded)];
        assert_eq!((rows.len(), of_each), (2, [1, 1]), "{rows:#?}");
        farm.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_that_may_not_be_removed_is_told_and_not_asked_for_without_end() {
    for release in NEWEST {
        let (fake, token) = server(release);
        let mut setup = Setup::new(&token, vec![pool(&fake, "p", &["debian"], 1)]);
        setup.surplus = Duration::from_millis(1);
        setup.held = true;
        let farm = Farm::start(&fake, &setup).await;
        let runners = "/api/v1/orgs/acme/actions/runners/*";
        fake.fault(Fault::on("DELETE", runners).times(1_000_000).status(403, "no"));
        let job = push(&fake, &["debian"], "succeed");
        farm.gates.come(ASK, 1).await;
        fake.cancel(job);
        let name = setup.pools[0].name.clone();
        let told = until("it to be told", || async { farm.forge.problem(&name) }).await;
        assert!(told.contains("cannot be removed"), "{release:?}: {told}");
        // Every look at the board would have asked.
        let lists = if release.is_gitea() {
            "/api/v1/orgs/acme/actions/jobs"
        } else {
            "/api/v1/orgs/acme/actions/runners/jobs"
        };
        let before = fake.count("GET", lists);
        until("the time of many looks", || async { (fake.count("GET", lists) > before + 60).then_some(()) })
            .await;
        let asked = fake.count("DELETE", runners);
        assert!((1..=6).contains(&asked), "{release:?}: {asked}");
        farm.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_stops_although_a_forge_does_not_answer_for_a_runner() {
    let log = Log::start();
    let (fake, token) = server(fireactions_testkit::gitea::Release::GITEA);
    let mut setup = Setup::new(&token, vec![pool(&fake, "p", &["debian"], 1)]);
    setup.surplus = Duration::from_millis(1);
    setup.held = true;
    let farm = Farm::start(&fake, &setup).await;
    let runners = "/api/v1/orgs/acme/actions/runners/*";
    fake.fault(Fault::on("DELETE", runners).times(1_000_000).stall(Duration::from_secs(600)));
    let job = push(&fake, &["debian"], "succeed");
    farm.gates.come(ASK, 1).await;
    fake.cancel(job);
    until("it to be asked", || async { (fake.count("DELETE", runners) > 0).then_some(()) }).await;
    farm.stop().await;
    assert!(!log.has("could not be informed within"), "it waited for the forge");
}
