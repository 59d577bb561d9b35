//! Runners of hosted forges: bound from their first moment, never tried twice, and their credential gone when it is used.

// A failed setup is a failed test.
#![allow(clippy::unwrap_used)]

use crate::common::*;
use fireactions_model::{
    ForgeName, JobState, Outcome, Phase, PhaseTimes, RemoteJob, Report, RetryPolicy, Secret, Usage,
};
use fireactions_store::{Bind, Finish, Standing, Store};
use jiff::{SignedDuration, Timestamp};

const CREDENTIAL: &str = "a-very-recognisable-credential";

fn remote(n: u64) -> RemoteJob {
    RemoteJob {
        runner: Some(format!("ci-0abcde-{}", machine(n))),
        queued_at: Some(Timestamp::now() - SignedDuration::from_secs(5)),
        ..RemoteJob::new(ForgeName::github(), "acme")
    }
}

async fn insert(store: &Store, n: u64) -> Bind {
    store.insert_runner(&job(n), &spec(), &remote(n), &machine(n), &pool("p")).await.unwrap()
}

fn report(outcome: Outcome) -> Report {
    Report { outcome, usage: Usage::default(), phases: PhaseTimes::new(), notes: vec![], autopsy: None }
}

#[tokio::test]
async fn a_runner_is_bound_at_once_and_its_wait_is_the_jobs() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    let Bind::Bound(record) = insert(&store, 1).await else { panic!("not bound") };
    assert_eq!((record.state, record.attempt), (JobState::Assigned, 1));
    assert!((5_000_000..60_000_000).contains(&record.phases[&Phase::Queued]), "{:?}", record.phases);
    assert_eq!(store.standing(&machine(1)).await.unwrap(), Standing::Bound(record));
    assert!(store.queued().await.unwrap().is_empty(), "the built-in queue has nothing of it");
    let again = store.insert_runner(&job(2), &spec(), &remote(1), &machine(1), &pool("p")).await.unwrap();
    assert!(matches!(again, Bind::Refused(Standing::Bound(_))), "{again:?}");
    store.release_machine(&machine(3)).await.unwrap();
    assert_eq!(insert(&store, 3).await, Bind::Refused(Standing::Released));
    assert!(store.insert_runner(&job(1), &spec(), &remote(4), &machine(4), &pool("p")).await.is_err());
}

#[tokio::test]
async fn a_credential_survives_a_restart_and_not_its_use() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    for n in 1..=2 {
        insert(&store, n).await;
        let registered = RemoteJob { runner_id: Some(40 + n), ..remote(n) };
        store.set_credential(&job(n), &registered, Secret::new(CREDENTIAL)).await.unwrap();
    }
    store.close().await;
    let store = Store::open(temp.path()).unwrap();
    assert_eq!(store.credential(&job(1)).await.unwrap().unwrap().expose(), CREDENTIAL);
    let record = store.job(&job(1)).await.unwrap().unwrap();
    assert_eq!(record.remote.as_ref().unwrap().runner_id, Some(41));
    assert!(!serde_json::to_string(&record).unwrap().contains(CREDENTIAL), "records are told to everybody");
    assert!(!format!("{record:?}").contains(CREDENTIAL));

    store.start_job(&job(1), &machine(1)).await.unwrap();
    let lost = report(Outcome::Lost { reason: "gone".to_owned() });
    store.finish_job(&job(2), &machine(2), &lost, RetryPolicy::default()).await.unwrap();
    for n in 1..=2 {
        assert_eq!(store.credential(&job(n)).await.unwrap(), None);
        // Too late: it would never be forgotten.
        store.set_credential(&job(n), &remote(n), Secret::new(CREDENTIAL)).await.unwrap();
        assert_eq!(store.credential(&job(n)).await.unwrap(), None);
    }
    store.close().await;
    let database = std::fs::read(temp.path().join("state.db")).unwrap();
    let found = database.windows(CREDENTIAL.len()).any(|window| window == CREDENTIAL.as_bytes());
    assert!(!found, "a used credential is still in the file");
}

#[tokio::test]
async fn a_lost_runner_is_not_tried_again() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    insert(&store, 1).await;
    let lost = report(Outcome::Lost { reason: "its machine died".to_owned() });
    let policy = RetryPolicy { attempts: 5 };
    let end = store.finish_job(&job(1), &machine(1), &lost, policy).await.unwrap();
    assert!(matches!(end, Finish::Final(_)), "{end:?}");
    assert_eq!(end.job().state, JobState::Lost);
    let forge = remote(1).forge;
    assert_eq!(store.registered_runners(&forge).await.unwrap().len(), 1, "the forge may still have it");
    let other = ForgeName::new("other").unwrap();
    assert_eq!(store.registered_runners(&other).await.unwrap(), []);
    store.update_remote(&job(1), |remote| remote.deregistered = true).await.unwrap();
    assert_eq!(store.registered_runners(&forge).await.unwrap(), []);
}

#[tokio::test]
async fn what_becomes_known_is_kept_and_told_once() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    insert(&store, 1).await;
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let observer = move |change: &fireactions_store::JobChange| {
        told.send(change.job.clone()).unwrap();
    };
    store.observe_jobs(std::sync::Arc::new(observer)).await.unwrap();
    assert!(heard.recv().await.unwrap().is_idle_runner());
    let picked_up = Timestamp::from_second(1_800_000_000).unwrap();
    for _ in 0..2 {
        store.update_remote(&job(1), move |remote| remote.picked_up_at = Some(picked_up)).await.unwrap();
    }
    let record = heard.recv().await.unwrap();
    assert!(!record.is_idle_runner());
    assert_eq!(record.remote.unwrap().picked_up_at, Some(picked_up));
    assert!(heard.try_recv().is_err(), "what changes nothing is no news");
}

#[tokio::test]
async fn a_server_is_the_same_for_its_forges_for_ever() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    store.set_drained(Some("new disks")).await.unwrap();
    assert_eq!(store.runner_key("first").await.unwrap(), "first");
    store.set_drained(None).await.unwrap();
    store.close().await;
    let store = Store::open(temp.path()).unwrap();
    assert_eq!(store.runner_key("second").await.unwrap(), "first");
}
