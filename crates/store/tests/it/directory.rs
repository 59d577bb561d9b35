//! The state directory: modes, the lock, leftovers of a crash.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::common::*;
use fireactions_model::InputFile;
use fireactions_store::{Store, StoreError};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn everything_is_private() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("state");
    let store = Store::open(&dir).unwrap();
    let id = job(1);
    let mut files = store.stage(&id);
    let file = InputFile { dest: "/in".to_owned(), mode: 0o644, size: 3 };
    files.put(&file, b"abc".as_slice()).await.unwrap();
    store.insert_job(&id, &spec(), files, 10).await.unwrap();
    store.log(&id).append_at(0, fireactions_model::Stream::Stdout, b"hello".to_vec()).await.unwrap();

    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("jobs")), 0o700);
    assert_eq!(mode(&store.job_dir(&id)), 0o700);
    for file in ["state.db", "state.db-wal", "state.db-shm", "lock"] {
        assert_eq!(mode(&dir.join(file)), 0o600, "{file}");
    }
    assert_eq!(mode(&store.input_path(&id, 0)), 0o600);
    assert_eq!(mode(&store.job_dir(&id).join("log")), 0o600);
}

#[tokio::test]
async fn an_open_directory_is_closed_to_readers_but_stays_passable() {
    let temp = tempfile::tempdir().unwrap();
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let _store = Store::open(temp.path()).unwrap();
    assert_eq!(mode(temp.path()), 0o711);
}

#[tokio::test]
async fn a_second_store_is_refused_with_the_holders_pid() {
    let temp = tempfile::tempdir().unwrap();
    let first = Store::open(temp.path()).unwrap();
    let error = Store::open(temp.path()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");

    first.close().await;
    let again = Store::open(temp.path()).unwrap();
    again.machines().await.unwrap();
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    let clone = store.clone();
    store.close().await;
    assert!(matches!(clone.machines().await, Err(StoreError::Closed)));
    assert!(matches!(clone.insert_machine(new_machine(1, 4)).await, Err(StoreError::Closed)));
}

#[tokio::test]
async fn files_without_a_row_are_swept_and_strangers_stay() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    store.insert_job(&job(1), &spec(), no_files(&store, 1), 10).await.unwrap();
    store.make_job_dir(&job(1)).await.unwrap();
    // As a crash leaves it: before the rename, and between the rename and the row.
    store.make_job_dir(&job(2)).await.unwrap();
    fs::write(store.input_path(&job(2), 0), b"orphan").unwrap();
    fs::create_dir(temp.path().join("jobs").join(format!(".new-{}", job(3)))).unwrap();
    fs::create_dir(temp.path().join("jobs/lost+found")).unwrap();
    store.close().await;

    let store = Store::open(temp.path()).unwrap();
    let mut expected = vec![job(1).to_string(), "lost+found".to_owned()];
    expected.sort();
    assert_eq!(job_entries(&store), expected);
}

#[tokio::test]
async fn input_of_another_size_is_refused_and_leaves_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    for (announced, bytes) in [(3, b"abcd".as_slice()), (5, b"abcd".as_slice())] {
        let mut files = store.stage(&job(1));
        let file = InputFile { dest: "/in".to_owned(), mode: 0o644, size: announced };
        let error = files.put(&file, bytes).await.unwrap_err();
        assert!(matches!(error, StoreError::WrongSize { actual: 4, .. }), "{error}");
        drop(files);
        assert_eq!(job_entries(&store), Vec::<String>::new());
    }
    // A job that the queue refuses takes its files along.
    let mut files = store.stage(&job(1));
    let file = InputFile { dest: "/in".to_owned(), mode: 0o644, size: 4 };
    files.put(&file, b"abcd".as_slice()).await.unwrap();
    let error = store.insert_job(&job(1), &spec(), files, 0).await.unwrap_err();
    assert!(matches!(error, StoreError::QueueFull(0)), "{error}");
    assert_eq!(job_entries(&store), Vec::<String>::new());
}

#[tokio::test]
async fn a_file_that_is_no_database_of_ours_is_left_alone() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("state.db");
    let other = rusqlite::Connection::open(&path).unwrap();
    other
        .execute_batch("CREATE TABLE theirs (x); PRAGMA application_id = 7; PRAGMA user_version = 3")
        .unwrap();
    drop(other);
    let error = Store::open(temp.path()).unwrap_err();
    assert!(matches!(error, StoreError::Foreign { found: 7, .. }), "{error}");
    let other = rusqlite::Connection::open(&path).unwrap();
    assert_eq!(other.query_row("SELECT count(*) FROM theirs", [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}

#[tokio::test]
async fn a_lock_whose_holder_has_ended_is_told_apart() {
    let temp = tempfile::tempdir().unwrap();
    Store::open(temp.path()).unwrap().close().await;
    let mut ended = std::process::Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    // What a server that was killed while it started a child leaves for a moment: its name in the lock, and the child's
    // copy of the descriptor.
    let path = temp.path().join("lock");
    fs::write(&path, format!("{}\n", ended.id())).unwrap();
    let copy = fs::File::open(&path).unwrap();
    rustix::fs::flock(&copy, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    let error = Store::open(temp.path()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { ended: true, .. }), "{error}");
    fs::write(&path, format!("{}\n", std::process::id())).unwrap();
    let error = Store::open(temp.path()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { ended: false, .. }), "{error}");
    drop(copy);
    Store::open(temp.path()).unwrap();
}
