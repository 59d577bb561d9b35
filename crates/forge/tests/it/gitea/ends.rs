//! How jobs end: the forge alone knows, and a runner for one job is never told that its job was cancelled.

use std::time::Duration;

use fireactions_forge::{Answer, Delivery};
use fireactions_model::{Forge as _, JobState, Outcome};
use fireactions_testkit::gitea::runner::{self, FakeRunner};
use fireactions_testkit::gitea::{
    FakeGitea, Fault, JobId, JobStatus, Major, Minor, Release, RunnerFate, Scope, sign,
};
use jiff::Timestamp;

use super::farm::{ASK, Farm, SECRET, Setup, pool, server};
use super::{NEVER, NEWEST, ended, exited, nothing_is_left, push, settled};
use crate::common::log::Log;
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
async fn a_job_whose_row_cannot_be_read_for_a_moment_is_still_judged_by_its_forge() {
    let log = Log::start();
    let (fake, token) = server(Release::GITEA);
    let farm = Farm::start(&fake, &Setup::new(&token, vec![pool(&fake, "p", &["debian"], 1)])).await;
    let job = push(&fake, &["debian"], "fail");
    assert_eq!(ended(&fake, &[job]).await, [JobStatus::Failure]);
    let row = settled(&farm, 1).await.remove(0);
    let database = rusqlite::Connection::open(farm.dir.path().join("state/state.db")).unwrap();
    database.execute_batch("ALTER TABLE jobs RENAME TO away").unwrap();
    let (forge, id) = (farm.forge.clone(), row.id.clone());
    let judging = tokio::spawn(async move {
        let mut notes = Vec::new();
        let verdict = forge.judge(&id, Outcome::Exited { code: 0 }, &mut notes).await;
        (verdict.outcome, notes)
    });
    // What the runner returned is not taken for the result meanwhile.
    until("the row to be asked for", || async { log.has("its row cannot be read yet").then_some(()) }).await;
    database.execute_batch("ALTER TABLE away RENAME TO jobs").unwrap();
    let (outcome, notes) = judging.await.unwrap();
    assert_eq!(outcome, exited(1), "{notes:?}");
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cancel_that_a_runner_never_hears_of_ends_its_machine() {
    for (release, hooked) in [(Release::GITEA, false), (Release::GITEA, true), (Release::FORGEJO, false)] {
        let queue = if release.is_gitea() {
            "/api/v1/orgs/acme/actions/jobs"
        } else {
            "/api/v1/orgs/acme/actions/runners/jobs"
        };
        let (fake, token) = server(release);
        let mut setup = Setup::new(&token, vec![pool(&fake, "p", &["debian"], 2)]);
        setup.poll = if hooked { NEVER } else { Duration::from_secs(1) };
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
        // The first list without it is enough, so that its machine goes within one interval and no more. Forgejo is asked for
        // the list again when it is asked for the job.
        let enough = if release.is_gitea() { 1 } else { 2 };
        fake.fault(Fault::on("GET", queue).after(enough).times(1_000_000).status(500, "not again"));
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

/// A server whose runner asks for its job just after that was cancelled.
async fn cancelled_before_it_is_asked_for(release: Release) -> (FakeGitea, Farm, JobId) {
    let (fake, token) = server(release);
    let mut setup = Setup::new(&token, vec![pool(&fake, "p", &["debian"], 1)]);
    setup.surplus = Duration::from_millis(300);
    setup.held = true;
    let farm = Farm::start(&fake, &setup).await;
    let job = push(&fake, &["debian"], "succeed");
    farm.gates.come(ASK, 1).await;
    fake.cancel(job);
    farm.gates.open(ASK);
    (fake, farm, job)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_cancelled_before_its_runner_asks_for_it_is_a_cancelled_one() {
    for release in NEWEST {
        let (fake, farm, _) = cancelled_before_it_is_asked_for(release).await;
        let rows = settled(&farm, 1).await;
        assert_eq!(
            (rows.len(), rows[0].state, rows[0].outcome.clone()),
            (1, JobState::Cancelled, Some(Outcome::Cancelled)),
            "{release:?} {rows:#?}"
        );
        assert!(!rows[0].notes.iter().any(|note| note.starts_with("unused")), "{rows:#?}");
        // The pool goes on as if nothing had been.
        let next = push(&fake, &["debian"], "succeed");
        assert_eq!(ended(&fake, &[next]).await, [JobStatus::Success], "{release:?}");
        let rows = settled(&farm, 2).await;
        assert!(rows.iter().any(|row| row.outcome == Some(exited(0))), "{release:?} {rows:#?}");
        nothing_is_left(&fake).await;
        farm.stop().await;
    }
}

/// Two servers' runners are bound to one job, and the forge's list does not say which of them has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_anothers_runner_took_is_not_this_ones() {
    let (fake, token) = server(Release::FORGEJO);
    let mut setup = Setup::new(&token, vec![pool(&fake, "p", &["debian"], 1)]);
    setup.held = true;
    let farm = Farm::start(&fake, &setup).await;
    let job = push(&fake, &["debian"], "succeed");
    farm.gates.come(ASK, 1).await;
    let registration = fake.registration_token(&Scope::Organization("acme".to_owned()));
    let other = FakeRunner::register(&fake.url(), &registration, "other", &["debian"], true).await.unwrap();
    other.declare(&["debian"]).await.unwrap();
    let task = other.fetch().await.unwrap().expect("the job");
    until("the job to be seen running", || async {
        let rows = farm.rows().await;
        rows[0].remote.as_ref().is_some_and(fireactions_model::RemoteJob::is_picked_up).then_some(())
    })
    .await;
    farm.gates.open(ASK);
    let rows = settled(&farm, 1).await;
    assert_eq!((rows.len(), &rows[0].outcome), (1, &Some(Outcome::Cancelled)), "{rows:#?}");
    let remote = rows[0].remote.as_ref().unwrap();
    assert_eq!((remote.is_picked_up(), remote.task, &remote.conclusion), (false, None, &None), "{rows:#?}");
    assert!(rows[0].notes.iter().any(|note| note.contains("another runner has it")), "{rows:#?}");
    other.finish(&task, runner::Outcome::Success).await.unwrap();
    assert_eq!(fake.job(job).status, JobStatus::Success);
    nothing_is_left(&fake).await;
    farm.stop().await;
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

/// Both forges run the same row of their table once more: the job keeps its number.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_run_again_gets_a_runner_again() {
    let gitea_1_24 = Release::Gitea(Minor::V24);
    for (release, hooked) in [
        (Release::GITEA, true),
        (Release::GITEA, false),
        (gitea_1_24, true),
        (Release::FORGEJO, false),
        (Release::Forgejo(Major::V14), false),
    ] {
        let (fake, token) = server(release);
        let mut setup = Setup::new(&token, vec![pool(&fake, "p", &["debian"], 2)]);
        setup.webhook = hooked;
        if hooked {
            setup.poll = Duration::from_secs(1);
        }
        let farm = Farm::start(&fake, &setup).await;
        if hooked {
            let owner = Scope::Organization("acme".to_owned());
            fake.webhook(&owner, &door(farm.forge.clone()).await, SECRET);
        }
        let job = push(&fake, &["debian"], "succeed");
        for attempt in 1..=3 {
            assert_eq!(ended(&fake, &[job]).await, [JobStatus::Success], "{release:?} {attempt}");
            settled(&farm, attempt).await;
            if hooked {
                fake.wait_delivered(Duration::from_secs(60));
            }
            if attempt < 3 {
                fake.rerun(job);
            }
        }
        let rows = settled(&farm, 3).await;
        assert!(rows.iter().all(|row| row.outcome == Some(exited(0))), "{release:?} {rows:#?}");
        farm.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_was_cancelled_before_its_runner_asked_can_be_run_again() {
    for release in NEWEST {
        let (fake, farm, job) = cancelled_before_it_is_asked_for(release).await;
        settled(&farm, 1).await;
        fake.rerun(job);
        assert_eq!(ended(&fake, &[job]).await, [JobStatus::Success], "{release:?}");
        let rows = settled(&farm, 2).await;
        // Both began to wait when the job was made.
        assert!(rows.iter().any(|row| row.outcome == Some(exited(0))), "{release:?} {rows:#?}");
        nothing_is_left(&fake).await;
        farm.stop().await;
    }
}

/// Between two lists a job is cancelled and run again: the runner that is bound to it asks for what there is no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_of_an_attempt_that_was_cancelled_makes_room_for_the_next_ones() {
    let (fake, token) = server(Release::FORGEJO);
    let mut setup = Setup::new(&token, vec![pool(&fake, "p", &["debian"], 1)]);
    setup.held = true;
    let farm = Farm::start(&fake, &setup).await;
    let job = push(&fake, &["debian"], "succeed");
    farm.gates.come(ASK, 1).await;
    fake.cancel(job);
    fake.rerun(job);
    farm.gates.open(ASK);
    assert_eq!(ended(&fake, &[job]).await, [JobStatus::Success]);
    let rows = settled(&farm, 2).await;
    assert!(!rows.iter().any(|row| row.notes.iter().any(|note| note.starts_with("unused"))), "{rows:#?}");
    assert_eq!(rows.iter().filter(|row| row.outcome == Some(exited(0))).count(), 1, "{rows:#?}");
    farm.stop().await;
}

/// What runs under the same number is another attempt, and no sign of life of the first one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_machine_of_an_attempt_that_was_cancelled_ends_although_its_job_runs_again() {
    for release in NEWEST {
        let (fake, token) = server(release);
        let mut setup = Setup::new(&token, vec![pool(&fake, "p", &["debian"], 2)]);
        setup.webhook = false;
        let farm = Farm::start(&fake, &setup).await;
        let job = push(&fake, &["debian"], "a-gate-that-nobody-opens");
        let is_known = |row: &fireactions_model::JobRecord| {
            row.remote.as_ref().is_some_and(|remote| remote.id == Some(job.0) && remote.task.is_some())
        };
        until("the job to be seen running", || async {
            farm.rows().await.iter().any(is_known).then_some(())
        })
        .await;
        let queue = if release.is_gitea() { "actions/jobs" } else { "actions/runners/jobs" };
        // No list is read until it runs again.
        let queue = format!("/api/v1/orgs/acme/{queue}");
        fake.fault(Fault::on("GET", &queue).times(1_000_000).status(500, "not now"));
        fake.cancel(job);
        fake.rerun(job);
        let registration = fake.registration_token(&Scope::Organization("acme".to_owned()));
        let other =
            FakeRunner::register(&fake.url(), &registration, "other", &["debian"], true).await.unwrap();
        other.declare(&["debian"]).await.unwrap();
        let task = other.fetch().await.unwrap().expect("the job");
        fake.clear_faults();
        let rows = settled(&farm, 1).await;
        assert_eq!(
            (rows[0].state, rows[0].remote.as_ref().unwrap().conclusion.as_deref()),
            (JobState::Cancelled, Some("cancelled")),
            "{release:?} {rows:#?}"
        );
        other.finish(&task, runner::Outcome::Success).await.unwrap();
        assert_eq!(fake.job(job).status, JobStatus::Success, "{release:?}");
        farm.stop().await;
    }
}

/// Neither forge refuses to delete a runner that it has just given a job.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_that_nobody_needs_and_that_was_just_given_a_job_stays() {
    for release in [Release::GITEA, Release::Gitea(Minor::V25)] {
        let (fake, token) = server(release);
        let mut setup = Setup::new(&token, vec![pool(&fake, "p", &["debian"], 1)]);
        setup.surplus = Duration::from_millis(300);
        setup.poll = NEVER;
        setup.held = true;
        let farm = Farm::start(&fake, &setup).await;
        let tell = async |job| {
            let body = fake.payload(job).to_string().into_bytes();
            let signature = sign(SECRET, &body);
            let header = |name: &str| match name {
                "x-gitea-event" => Some("workflow_job"),
                "x-gitea-signature" => Some(signature.as_str()),
                "content-type" => Some("application/json"),
                _ => None,
            };
            let answer = farm.forge.deliver(Delivery { header: &header, body: &body }).await;
            assert_eq!(answer, Answer::Taken);
        };
        let first = push(&fake, &["debian"], "succeed");
        tell(first).await;
        farm.gates.come(ASK, 1).await;
        // Nobody says that the runner has another job now.
        fake.cancel(first);
        let second = push(&fake, &["debian"], "succeed");
        let runner = fake.registered()[0].id;
        let task = fake.play(runner).fetch().await.unwrap().expect("the second job");
        tell(first).await;
        until("the runner to be looked at", || async {
            let row = farm.rows().await.remove(0);
            (row.state.is_final() || row.remote.is_some_and(|remote| remote.is_picked_up())).then_some(())
        })
        .await;
        let seen = fake.runners().remove(0);
        assert_eq!((seen.fate, seen.disabled), (None, false), "{release:?}");
        assert_eq!(fake.job(second).status, JobStatus::Running);
        fake.play(runner).finish(&task, runner::Outcome::Success).await.unwrap();
        farm.stop().await;
    }
}

/// Reading repositories is optional for a Gitea's token: then a job cannot be asked for, and one list may lack it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_missing_in_one_list_and_may_not_be_asked_for_runs_on() {
    let (fake, token) = server(Release::GITEA);
    let mut setup = Setup::new(&token, vec![pool(&fake, "p", &["debian"], 1)]);
    setup.webhook = false;
    let farm = Farm::start(&fake, &setup).await;
    let job = push(&fake, &["debian"], "gate");
    until("the job to be seen running", || async {
        let rows = farm.rows().await;
        rows.iter()
            .any(|row| row.remote.as_ref().is_some_and(|remote| remote.id == Some(job.0)))
            .then_some(())
    })
    .await;
    let one = "/api/v1/repos/acme/app/actions/jobs/*";
    fake.fault(
        Fault::on("GET", one)
            .times(1_000_000)
            .status(403, "token does not have at least one of required scope(s)"),
    );
    let list = r#"{"jobs": [], "total_count": 0}"#;
    let lists = "/api/v1/orgs/acme/actions/jobs";
    fake.fault(Fault::on("GET", lists).answer(200, &[("content-type", "application/json")], list));
    until("the job to be asked for", || async { (fake.count("GET", one) > 0).then_some(()) }).await;
    let asked = fake.count("GET", lists);
    until("more lists", || async { (fake.count("GET", lists) > asked + 3).then_some(()) }).await;
    let row = farm.rows().await.remove(0);
    // While it is taken to run, it is asked for again and again when lists lack it; what is over is not.
    fake.fault(Fault::on("GET", lists).answer(200, &[("content-type", "application/json")], list));
    let before = fake.count("GET", one);
    until("it to be asked for again", || async { (fake.count("GET", one) > before).then_some(()) }).await;
    assert!(!row.state.is_final(), "{row:#?}");
    farm.gates.open("gate");
    assert_eq!(ended(&fake, &[job]).await, [JobStatus::Success]);
    farm.stop().await;
}
