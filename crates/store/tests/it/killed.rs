//! A process killed with -9 at each fail point of the store: afterwards there is the state before or the state after,
//! and the store goes on from it. (The walk over the points of a whole server is with the end-to-end tests.)
#![cfg(feature = "failpoints")]
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use crate::common::*;
use fireactions_model::{InputFile, JobState, Outcome, PhaseTimes, Report, RetryPolicy, Usage};
use fireactions_store::{JobFilter, Store, StoreError, check, rebuild};

const DIR: &str = "FIREACTIONS_TEST_STATE_DIR";
const POINT: &str = "FIREACTIONS_TEST_POINT";
const WHAT: &str = "FIREACTIONS_TEST_WHAT";

/// Does `what` in a process of its own, which kills itself at `point`.
fn killed(dir: &Path, what: &str, point: &str) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed::child_that_kills_itself", "--ignored", "--nocapture"])
        .env(DIR, dir)
        .env(POINT, point)
        .env(WHAT, what)
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(9), "{what} does not come by {point}");
}

#[tokio::test]
#[ignore = "run by the tests here, and kills itself"]
async fn child_that_kills_itself() {
    let [dir, point, what] = [DIR, POINT, WHAT].map(|name| std::env::var(name).unwrap());
    let dir = Path::new(&dir);
    let store = (!["rebuild", "migrate"].contains(&what.as_str())).then(|| Store::open(dir).unwrap());
    fail::cfg_callback(point, || {
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    })
    .unwrap();
    let report = Report {
        outcome: Outcome::Exited { code: 3 },
        usage: Usage::default(),
        phases: PhaseTimes::new(),
        notes: Vec::new(),
        autopsy: None,
    };
    match (what.as_str(), store) {
        ("rebuild", _) => drop(rebuild(dir)),
        ("migrate", _) => drop(Store::open(dir)),
        ("insert", Some(store)) => insert(&store, 2).await,
        ("bind", Some(store)) => drop(store.bind(&job(1), &machine(1), &pool("p")).await),
        ("start", Some(store)) => drop(store.start_job(&job(1), &machine(1)).await),
        ("finish", Some(store)) => {
            drop(store.finish_job(&job(1), &machine(1), &report, RetryPolicy::default()).await);
        }
        ("cancel", Some(store)) => drop(store.request_cancel(&job(1), "a test").await),
        ("purge", Some(store)) => drop(store.purge_jobs(jiff::Timestamp::MAX, 0).await),
        (other, _) => panic!("unknown: {other}"),
    }
}

async fn insert(store: &Store, n: u64) {
    let mut spec = spec();
    spec.files = vec![InputFile { dest: "/in".to_owned(), mode: 0o600, size: 5 }];
    let mut files = store.stage(&job(n));
    files.put(&spec.files[0], b"bytes".as_slice()).await.unwrap();
    store.insert_job(&job(n), &spec, files, 1000).await.unwrap();
}

#[tokio::test]
async fn a_transition_is_there_whole_or_not_at_all() {
    // What is asked for, and the state of job 1 before and after it.
    let transitions = [
        ("bind", JobState::Queued, JobState::Assigned),
        ("start", JobState::Assigned, JobState::Running),
        ("finish", JobState::Running, JobState::Failed),
        ("cancel", JobState::Queued, JobState::Cancelled),
    ];
    for (what, before, after) in transitions {
        for (side, expected) in [("before", before), ("after", after)] {
            let temp = tempfile::tempdir().unwrap();
            let store = Store::open(temp.path()).unwrap();
            insert(&store, 1).await;
            if before >= JobState::Assigned {
                store.bind(&job(1), &machine(1), &pool("p")).await.unwrap();
            }
            if before == JobState::Running {
                store.start_job(&job(1), &machine(1)).await.unwrap();
            }
            store.close().await;
            killed(temp.path(), what, &format!("store::{what}-{side}-commit"));
            assert_eq!(check(temp.path()).unwrap().problems, Vec::<String>::new());
            let store = Store::open(temp.path()).unwrap();
            let found = store.job(&job(1)).await.unwrap().unwrap();
            assert_eq!(found.state, expected, "killed {side} the commit of {what}");
            let has_it = store.bound(&machine(1)).await.unwrap().is_some();
            assert_eq!(has_it, matches!(expected, JobState::Assigned | JobState::Running));
        }
    }
}

#[tokio::test]
async fn a_job_comes_with_its_files_or_not_at_all() {
    let points = [("insert-staged", false), ("insert-before-commit", false), ("insert-after-commit", true)];
    for (point, exists) in points {
        let temp = tempfile::tempdir().unwrap();
        let store = Store::open(temp.path()).unwrap();
        insert(&store, 1).await;
        store.close().await;
        killed(temp.path(), "insert", &format!("store::{point}"));
        let store = Store::open(temp.path()).unwrap();
        assert_eq!(store.job(&job(2)).await.unwrap().is_some(), exists, "killed at {point}");
        assert_eq!(store.job_dir(&job(2)).exists(), exists, "killed at {point}");
        assert_eq!(fs::read(store.input_path(&job(1), 0)).unwrap(), b"bytes");
    }
}

#[tokio::test]
async fn purged_files_go_at_the_next_start() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    insert(&store, 1).await;
    insert(&store, 2).await;
    store.request_cancel(&job(1), "a test").await.unwrap();
    store.close().await;
    killed(temp.path(), "purge", "store::offline-purge-between");
    assert!(temp.path().join("jobs").join(job(1).as_str()).exists());
    let store = Store::open(temp.path()).unwrap();
    assert_eq!(store.job(&job(1)).await.unwrap(), None);
    assert_eq!(job_entries(&store), [job(2).to_string()]);
}

#[tokio::test]
async fn a_migration_goes_on_from_a_whole_version() {
    let temp = tempfile::tempdir().unwrap();
    killed(temp.path(), "migrate", "store::offline-migrate-between");
    let db = rusqlite::Connection::open(temp.path().join("state.db")).unwrap();
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 1);
    drop(db);
    let store = Store::open(temp.path()).unwrap();
    store.set_drained(Some("a column of the newest version")).await.unwrap();
}

#[tokio::test]
async fn a_rebuild_killed_anywhere_leaves_the_old_or_the_new() {
    // A damaged state: a page of jobs is gone, and the last job is in the log only.
    let made = tempfile::tempdir().unwrap();
    let store = Store::open(made.path()).unwrap();
    for n in 0..60 {
        insert(&store, n).await;
    }
    store.close().await;
    let store = Store::open(made.path()).unwrap();
    insert(&store, 60).await;
    let damaged = tempfile::tempdir().unwrap();
    copy(made.path(), damaged.path());
    store.close().await;
    let path = damaged.path().join("state.db");
    let mut bytes = fs::read(&path).unwrap();
    let text = job(20).to_string();
    let page = bytes
        .chunks(4096)
        .position(|page| page[0] == 13 && page.windows(text.len()).any(|at| at == text.as_bytes()))
        .unwrap();
    bytes[page * 4096..(page + 1) * 4096].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    let whole = tempfile::tempdir().unwrap();
    copy(damaged.path(), whole.path());
    let expected = rebuild(whole.path()).unwrap();
    assert!(expected.jobs < 61 && expected.jobs > 30, "{expected:?}");

    for times in [1, 2] {
        for point in ["filled", "before-rename", "after-rename"] {
            let temp = tempfile::tempdir().unwrap();
            copy(damaged.path(), temp.path());
            let point = format!("store::offline-rebuild-{point}");
            for _ in 0..times {
                killed(temp.path(), "rebuild", &point);
            }
            if point.ends_with("after-rename") {
                // The new one, of the first rebuild; the second found it whole.
                Store::open(temp.path()).unwrap().close().await;
            } else {
                let error = Store::open(temp.path()).unwrap_err();
                assert!(
                    matches!(&error, StoreError::Corrupt { why, .. } if why.contains("cut short")),
                    "{error}"
                );
                let again = rebuild(temp.path()).unwrap();
                assert_eq!((again.jobs, again.lost.len()), (expected.jobs, expected.lost.len()), "{again:?}");
                assert!(again.set_aside.iter().all(|path| path.exists()));
            }
            let store = Store::open(temp.path()).unwrap();
            let jobs = store.jobs(JobFilter::default()).await.unwrap();
            assert_eq!(jobs.len(), expected.jobs);
            assert!(jobs.iter().any(|found| found.id == job(60)), "what was in the log only");
            // Files of saved jobs are in place; those of lost ones aside, whole, and none is gone.
            let saved: BTreeSet<String> = jobs.iter().map(|job| job.id.to_string()).collect();
            let entries = job_entries(&store);
            assert_eq!(entries.len(), 61, "{entries:?}");
            for entry in entries {
                let (id, aside) =
                    entry.split_once(".damaged-").map_or((entry.as_str(), false), |(id, _)| (id, true));
                assert_eq!(aside, !saved.contains(id), "{entry}");
                assert_eq!(fs::read(temp.path().join("jobs").join(&entry).join("in.0")).unwrap(), b"bytes");
            }
            let left: Vec<_> = fs::read_dir(temp.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| name.contains("rebuilding"))
                .collect();
            assert_eq!(left, Vec::<String>::new());
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_name() != "state.db-shm" {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_job_whose_commit_fails_leaves_no_files() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    let mut spec = spec();
    spec.files = vec![InputFile { dest: "/in".to_owned(), mode: 0o600, size: 5 }];
    let staged = async || {
        let mut files = store.stage(&job(1));
        files.put(&spec.files[0], b"bytes".as_slice()).await.unwrap();
        files
    };
    fail::cfg("store::commit-refused", "1*return").unwrap();
    let error = store.insert_job(&job(1), &spec, staged().await, 10).await.unwrap_err();
    assert!(matches!(error, StoreError::Commit { .. }), "{error}");
    assert!(!store.job_dir(&job(1)).exists(), "its files are nobody's");
    // Nor does one for which there is no place.
    let error = store.insert_job(&job(1), &spec, staged().await, 0).await.unwrap_err();
    assert!(matches!(error, StoreError::QueueFull(0)), "{error}");
    assert!(!store.job_dir(&job(1)).exists());
    store.insert_job(&job(1), &spec, staged().await, 10).await.unwrap();
    assert!(store.input_path(&job(1), 0).exists());
    store.close().await;
}
