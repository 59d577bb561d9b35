//! The queue's rules hold in the database, whatever its callers think they know.

// A failed setup is a failed test.
#![allow(clippy::unwrap_used)]

use crate::common::*;
use fireactions_model::{JobState, Release};
use fireactions_store::{Bind, Standing, Store};

#[tokio::test]
async fn of_many_machines_one_gets_the_job() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    store.insert_job(&job(1), &spec(), no_files(&store, 1), 10).await.unwrap();
    let mut binds = tokio::task::JoinSet::new();
    for n in 0..20 {
        let store = store.clone();
        binds.spawn(async move { store.bind(&job(1), &machine(n), &pool("p")).await.unwrap() });
    }
    let (bound, taken): (Vec<Bind>, Vec<Bind>) =
        binds.join_all().await.into_iter().partition(|bind| matches!(bind, Bind::Bound(_)));
    assert_eq!(bound.len(), 1);
    assert!(taken.iter().all(|bind| *bind == Bind::Taken), "{taken:?}");
    assert_eq!(store.job(&job(1)).await.unwrap().unwrap().attempt, 1);
}

#[tokio::test]
async fn of_many_jobs_a_machine_gets_one_and_a_released_one_none() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    for n in 0..10 {
        store.insert_job(&job(n), &spec(), no_files(&store, n), 10).await.unwrap();
    }
    assert_eq!(store.release_machine(&machine(2)).await.unwrap(), Release::Idle);
    let mut binds = tokio::task::JoinSet::new();
    for n in 0..10 {
        let store = store.clone();
        binds.spawn(async move {
            let left = store.bind(&job(n), &machine(2), &pool("p")).await.unwrap();
            assert_eq!(left, Bind::Refused(Standing::Released));
            store.bind(&job(n), &machine(1), &pool("p")).await.unwrap()
        });
    }
    let (bound, refused): (Vec<Bind>, Vec<Bind>) =
        binds.join_all().await.into_iter().partition(|bind| matches!(bind, Bind::Bound(_)));
    assert_eq!(bound.len(), 1);
    assert!(refused.iter().all(|bind| matches!(bind, Bind::Refused(Standing::Bound(_)))), "{refused:?}");
}

#[tokio::test]
async fn a_cancelled_job_cannot_be_bound() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    store.insert_job(&job(1), &spec(), no_files(&store, 1), 10).await.unwrap();
    let cancelled = store.request_cancel(&job(1), "a test").await.unwrap();
    assert_eq!((cancelled.state, cancelled.reason.as_deref()), (JobState::Cancelled, Some("a test")));
    assert_eq!(store.bind(&job(1), &machine(1), &pool("p")).await.unwrap(), Bind::Taken);
    assert_eq!(store.bind(&job(2), &machine(1), &pool("p")).await.unwrap(), Bind::Taken);
    assert_eq!(store.standing(&machine(1)).await.unwrap(), Standing::Free);
}
