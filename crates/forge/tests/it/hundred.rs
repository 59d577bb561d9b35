//! 100 jobs through 3 machines at a time, each job exactly once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::common::*;
use fireactions_model::{Forge, JobId, JobState, Release};
use fireactions_store::JobFilter;
use tokio::sync::watch;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_jobs_through_three_machines() {
    let temp = tempfile::tempdir().unwrap();
    let (forge, _store, _events) = forge(temp.path()).await;
    let pool = pool("p", "linux");
    let runs: Arc<Mutex<HashMap<JobId, u32>>> = Arc::default();
    let (machines, (done, _)) = (Arc::new(AtomicU64::new(0)), watch::channel(0));
    let done = Arc::new(done);
    let mut places = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let (forge, pool, runs) = (forge.clone(), pool.clone(), Arc::clone(&runs));
        let (machines, done) = (Arc::clone(&machines), Arc::clone(&done));
        places.spawn(async move {
            // A machine after the other, each used once; the last one leaves without work.
            loop {
                let offer = offer(machines.fetch_add(1, Ordering::Relaxed), &pool);
                let mut heard = done.subscribe();
                let work = tokio::select! {
                    work = forge.acquire(&offer) => work.unwrap(),
                    all = async { heard.wait_for(|done| *done == 100).await.is_ok() } => {
                        assert!(all);
                        assert_eq!(forge.release(&offer.machine).await.unwrap(), Release::Idle);
                        return;
                    }
                };
                *runs.lock().unwrap().entry(work.job.clone()).or_default() += 1;
                forge.started(&work.job, &offer.machine).await.unwrap();
                forge.finished(&work.job, &offer.machine, &exited(0)).await.unwrap();
                done.send_modify(|done| *done += 1);
            }
        });
    }
    let mut submits = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let forge = forge.clone();
        submits.spawn(async move { submit(&forge, "linux").await });
    }
    submits.join_all().await;
    timeout(SOON * 3, places.join_all()).await.unwrap();
    let jobs = forge.list(JobFilter::default()).await.unwrap();
    assert_eq!(jobs.len(), 100);
    assert!(jobs.iter().all(|job| job.state == JobState::Succeeded && job.attempt == 1));
    let runs = runs.lock().unwrap();
    assert_eq!(runs.len(), 100);
    assert!(runs.values().all(|count| *count == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crowd_of_waiting_machines_shares_the_jobs() {
    let temp = tempfile::tempdir().unwrap();
    let (forge, _store, _events) = forge(temp.path()).await;
    let pool = pool("p", "");
    let mut crowd = tokio::task::JoinSet::new();
    for n in 0..60 {
        let (forge, offer) = (forge.clone(), offer(n, &pool));
        crowd.spawn(async move { (offer.machine.clone(), forge.acquire(&offer).await.map(|work| work.job)) });
    }
    let mut submitted: Vec<JobId> = Vec::new();
    for _ in 0..40 {
        submitted.push(submit(&forge, "").await.id);
    }
    let mut taken: Vec<JobId> = Vec::new();
    while taken.len() < 40 {
        let (_, job) = timeout(SOON, crowd.join_next()).await.unwrap().unwrap().unwrap();
        taken.push(job.unwrap());
    }
    taken.sort();
    submitted.sort();
    assert_eq!(taken, submitted);
    // The rest is sent home.
    for n in 0..60 {
        forge.release(&machine(n)).await.unwrap();
    }
    while let Some(answer) = timeout(SOON, crowd.join_next()).await.unwrap() {
        assert!(answer.unwrap().1.is_err());
    }
}
