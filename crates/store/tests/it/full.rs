//! A full disk: nothing that was acknowledged is lost by it, and all goes on once there is room.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::*;
use fireactions_model::{InputFile, Stream};
use fireactions_store::{JobFilter, LogSource, MachineChange, Store, StoreError, check};

const DIR: &str = "FIREACTIONS_TEST_STATE_DIR";

#[test]
fn a_full_disk_costs_nothing_that_was_acknowledged() {
    let temp = tempfile::tempdir().unwrap();
    // A disk of its own, seen by nobody else, gone with the child.
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-ec", "mount -t tmpfs -o size=3m tmpfs \"$1\"; shift; exec \"$@\"", "sh"])
        .arg(temp.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "full::child_on_a_small_disk", "--ignored", "--nocapture"])
        .env(DIR, temp.path())
        .output()
        .expect("unshare (package util-linux); run as root: 'make test'");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "run by a_full_disk_costs_nothing_that_was_acknowledged, on a disk of 3 MiB"]
async fn child_on_a_small_disk() {
    let dir = std::env::var(DIR).unwrap();
    let dir = Path::new(&dir);
    let ballast = dir.join("ballast");
    fs::write(&ballast, vec![1; 1 << 20]).unwrap();
    let state = dir.join("state");
    let store = Store::open(&state).unwrap();
    store.insert_machine(new_machine(1, 4)).await.unwrap();

    // Jobs until one is refused.
    let mut long = spec();
    long.env = vec![("LONG".to_owned(), "x".repeat(10_000))];
    let mut acknowledged = 0;
    let error = loop {
        match store.insert_job(&job(acknowledged), &long, no_files(&store, acknowledged), 10_000).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert!(acknowledged > 5, "{error}");
    let text = error.to_string();
    assert!(text.contains("disk is full") || text.contains("No space left"), "{text}");
    fill(&dir.join("rest"));

    // Nothing that needs room works, and says so; reading does.
    let mut files = store.stage(&job(500));
    let file = InputFile { dest: "/in".to_owned(), mode: 0o600, size: 4 };
    assert!(matches!(files.put(&file, b"file".as_slice()).await, Err(StoreError::Io { .. })));
    drop(files);
    let log = store.log(&job(0));
    assert!(log.append_at(0, Stream::Stdout, vec![b'a'; 100_000]).await.is_err());
    let found = store.jobs(JobFilter::default()).await.unwrap();
    assert_eq!(found.len() as u64, acknowledged);

    // Also not after a restart, which may not come up, but harms nothing.
    drop(log);
    store.close().await;
    match Store::open(&state) {
        Ok(store) => store.close().await,
        Err(error) => assert!(!matches!(error, StoreError::Corrupt { .. }), "{error}"),
    }

    fs::remove_file(dir.join("rest")).unwrap();
    fs::remove_file(&ballast).unwrap();
    let store = Store::open(&state).unwrap();
    let found = store.jobs(JobFilter::default()).await.unwrap();
    assert_eq!(found.len() as u64, acknowledged, "acknowledged jobs");
    assert_eq!(store.machines().await.unwrap().len(), 1);
    store.insert_job(&job(501), &spec(), no_files(&store, 501), 10_000).await.unwrap();
    store.change_machine(&machine(1), MachineChange::default()).await.unwrap();
    // The log goes on, with what is missing noted; half a record is not in it.
    store.log(&job(0)).append_at(100_000, Stream::Stdout, b"after".to_vec()).await.unwrap();
    let (records, _) = store.read_log(&job(0), 0).await.unwrap();
    assert_eq!(records.last().unwrap().data, b"after");
    let kept: usize = records
        .iter()
        .filter(|record| record.source == LogSource::Stdout)
        .map(|record| record.data.len())
        .sum();
    let note = records.iter().find(|record| record.source == LogSource::Note).unwrap();
    let note = String::from_utf8(note.data.clone()).unwrap();
    assert!(note.starts_with(&format!("{} bytes of output are missing", 100_000 + 5 - kept)), "{note}");
    store.close().await;
    assert_eq!(check(&state).unwrap().problems, Vec::<String>::new());
}

/// Takes the rest of the room.
fn fill(path: &Path) {
    use std::io::Write;
    let mut file = fs::File::create(path).unwrap();
    for size in [4096, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
}
