//! What goes wrong costs time, and is told; no job is lost or doubled, and no runner is left.

use std::time::Duration;

use fireactions_model::{JobState, Outcome};
use fireactions_testkit::gitea::JobStatus;

use super::farm::{ASK, Farm, Setup, pool, server};
use super::{NEWEST, ended, exited, nothing_is_left, push, settled};
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
        farm.lose_machines().await;
        let rows = farm.rows().await;
        assert!(matches!(rows[0].outcome, Some(Outcome::Lost { .. })), "{release:?} {rows:#?}");
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
