//! Databases of older versions stay readable.

// A failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::*;
use fireactions_model::{JobId, JobState, MachineId, MachineState, Outcome, Phase, Program, Release, Step};
use fireactions_store::{JobFilter, Standing, Store};

#[tokio::test]
async fn version_1_is_read_whole() {
    let temp = tempfile::tempdir().unwrap();
    let old = rusqlite::Connection::open(temp.path().join("state.db")).unwrap();
    old.execute_batch(include_str!("fixtures/v1.sql")).unwrap();
    drop(old);
    let store = Store::open(temp.path()).unwrap();
    let id = |n: u32| JobId::new(format!("j000000000{n}")).unwrap();
    let vm = |n: u32| MachineId::new(format!("m000000000{n}")).unwrap();

    let row = store.machine(&vm(1)).await.unwrap().unwrap();
    assert_eq!((row.state, row.step, row.slot), (MachineState::Busy, Step::Running, 3));
    assert_eq!((row.pid, row.start_ticks, row.job), (Some(4242), Some(99_887_766), Some(id(2))));
    assert_eq!(row.failure.unwrap().message, "it broke");
    assert_eq!(store.journal_of(&vm(1)).await.unwrap().len(), 2);
    assert_eq!(store.pools().await.unwrap()[0].scale, Some((2, 5)));

    let jobs = store.jobs(JobFilter::default()).await.unwrap();
    let states: Vec<JobState> = jobs.iter().map(|job| job.state).collect();
    assert_eq!(states, [JobState::Queued, JobState::Assigned, JobState::Failed]);
    let failed = &jobs[2];
    assert_eq!(failed.spec.program, Program::Script { text: "exit 3".to_owned() });
    assert_eq!(failed.outcome, Some(Outcome::Exited { code: 3 }));
    assert_eq!(failed.exit_code(), Some(3));
    assert_eq!(failed.phases[&Phase::Job], 8);
    assert!(jobs[1].cancel_requested);

    assert_eq!(store.bound(&vm(1)).await.unwrap().unwrap().id, id(2));
    assert_eq!(store.release_machine(&vm(1)).await.unwrap(), Release::Bound(id(2)));
    assert_eq!(store.standing(&vm(7)).await.unwrap(), Standing::Released);
    assert_eq!(store.standing(&vm(9)).await.unwrap(), Standing::Used);
    assert_eq!(store.standing(&vm(5)).await.unwrap(), Standing::Free);
    // And it can be written.
    store.insert_job(&job(50), &spec(), no_files(&store, 50), 10).await.unwrap();
    assert_eq!(store.queued().await.unwrap().len(), 2);
}
