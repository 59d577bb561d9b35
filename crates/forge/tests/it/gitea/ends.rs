//! How jobs end: the forge alone knows, and a runner for one job is never told that its job was cancelled.

use std::time::Duration;

use fireactions_model::{JobState, Outcome};
use fireactions_testkit::gitea::{JobStatus, Release, RunnerFate, Scope};
use jiff::Timestamp;

use super::farm::{Farm, SECRET, Setup, pool, server};
use super::{NEVER, NEWEST, ended, exited, nothing_is_left, push, settled};
use crate::github::farm::until;
use crate::github::queue::door;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_failed_failed_although_its_runner_returned_0() {
    for release in NEWEST {
        let (fake, token) = server(release);
        let farm = Farm::start(&fake, &Setup::new(&token, vec![pool(&fake, "p", &["debian"], 2)])).await;
        let job = push(&fake, &["debian"], "fail");
        assert_eq!(ended(&fake, &[job]).await, [JobStatus::Failure], "{release:?}");
        let rows = settled(&farm, 1).await;
        assert_eq!(
            (rows[0].state, rows[0].outcome.clone()),
            (JobState::Failed, Some(exited(1))),
            "{release:?}"
        );
        assert!(rows[0].notes.iter().any(|note| note.contains("ended with failure")), "{:?}", rows[0].notes);
        nothing_is_left(&fake).await;
        farm.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cancel_that_a_runner_never_hears_of_ends_its_machine() {
    for (release, hooked) in [(Release::GITEA, false), (Release::GITEA, true), (Release::FORGEJO, false)] {
        let (fake, token) = server(release);
        let mut setup = Setup::new(&token, vec![pool(&fake, "p", &["debian"], 2)]);
        if hooked {
            setup.poll = NEVER;
        }
        let farm = Farm::start(&fake, &setup).await;
        if hooked {
            let owner = Scope::Organization("acme".to_owned());
            fake.webhook(&owner, &door(farm.forge.clone()).await, SECRET);
        }
        let job = push(&fake, &["debian"], "a-gate-that-nobody-opens");
        until("the job to be seen running", || async {
            let rows = farm.rows().await;
            let known =
                rows.iter().any(|row| row.remote.as_ref().is_some_and(|remote| remote.id == Some(job.0)));
            (fake.job(job).status == JobStatus::Running && known).then_some(())
        })
        .await;
        // The host's clock was ahead when the runner began its job, and is set right now.
        let row = farm.rows().await[0].id.clone();
        let ahead = Timestamp::now() + Duration::from_secs(7200);
        farm.store.update_remote(&row, move |remote| remote.picked_up_at = Some(ahead)).await.unwrap();
        fake.cancel(job);
        let rows = settled(&farm, 1).await;
        assert_eq!(
            (rows[0].state, &rows[0].outcome),
            (JobState::Cancelled, &Some(Outcome::Cancelled)),
            "{release:?}"
        );
        assert_eq!(rows[0].remote.as_ref().unwrap().conclusion.as_deref(), Some("cancelled"));
        assert_eq!(fake.runners()[0].fate, Some(RunnerFate::Cancelled));
        nothing_is_left(&fake).await;
        farm.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_cancelled_before_a_runner_has_it_is_nobodys_failure() {
    for release in NEWEST {
        let (fake, token) = server(release);
        let mut setup = Setup::new(&token, vec![pool(&fake, "p", &["debian"], 1)]);
        setup.surplus = Duration::from_millis(300);
        let farm = Farm::start(&fake, &setup).await;
        let job = push(&fake, &["debian"], "succeed");
        until("a runner", || async { fake.runners().into_iter().next() }).await;
        fake.cancel(job);
        let next = push(&fake, &["debian"], "succeed");
        assert_eq!(ended(&fake, &[next]).await, [JobStatus::Success], "{release:?}");
        let rows = settled(&farm, 1).await;
        assert!(rows.iter().all(|row| !row.notes.iter().any(|note| note.starts_with("unused"))), "{rows:#?}");
        nothing_is_left(&fake).await;
        farm.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_over_before_anybody_looked_is_found_by_its_runner() {
    for release in NEWEST {
        let (fake, token) = server(release);
        let mut setup = Setup::new(&token, vec![pool(&fake, "p", &["debian"], 1)]);
        setup.poll = Duration::from_secs(2);
        let farm = Farm::start(&fake, &setup).await;
        let jobs = [push(&fake, &["debian"], "fail"), push(&fake, &["debian"], "succeed")];
        ended(&fake, &jobs).await;
        let rows = settled(&farm, 2).await;
        let mut told: Vec<_> = rows
            .iter()
            .map(|row| {
                (row.remote.as_ref().unwrap().id, row.remote.as_ref().unwrap().conclusion.clone().unwrap())
            })
            .collect();
        told.sort();
        let [failed, well] = jobs.map(|job| Some(job.0));
        assert_eq!(
            told,
            [(failed, "failure".to_owned()), (well, "success".to_owned())],
            "{release:?} {rows:#?}"
        );
        farm.stop().await;
    }
}
