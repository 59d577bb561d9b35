//! What a server that is stopped while it writes leaves, and what of it a power loss may take away. That what was acknowledged is
//! not among that is shown in `synced`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crate::common::*;
use fireactions_store::{JobFilter, Store, check};
use proptest::prelude::*;
use rustix::process::{Pid, Signal, kill_process};

const DIR: &str = "FIREACTIONS_TEST_STATE_DIR";

/// Writes jobs and machines, and says each that was acknowledged.
#[tokio::test]
#[ignore = "run by every_acknowledged_job_is_in_every_image_of_the_files, which kills it"]
async fn child_that_writes_until_it_is_killed() {
    let store = Store::open(std::env::var(DIR).unwrap()).unwrap();
    for n in 0..u64::MAX {
        store.insert_job(&job(n), &spec(), no_files(&store, n), u32::MAX).await.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "ACK {}", job(n)).unwrap();
        out.flush().unwrap();
        drop(out);
        store.insert_machine(new_machine(n, u32::MAX)).await.unwrap();
    }
}

/// Killed however the test ends.
struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn copy(from: &Path, to: &Path) {
    for name in ["state.db", "state.db-wal", "lock"] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

#[tokio::test]
async fn every_acknowledged_job_is_in_every_image_of_the_files() {
    let temp = tempfile::tempdir().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "power::child_that_writes_until_it_is_killed", "--ignored", "--nocapture"])
        .env(DIR, temp.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut writer = Writer(child);
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let out = BufReader::new(writer.0.stdout.take().unwrap());
    let reader = std::thread::spawn({
        let acknowledged = Arc::clone(&acknowledged);
        move || {
            for line in out.lines().map_while(Result::ok) {
                if let Some((_, id)) = line.split_once("ACK ") {
                    acknowledged.lock().unwrap().push(id.to_owned());
                }
            }
        }
    });
    let pid = Pid::from_child(&writer.0);
    let mut most = 0;
    for image in 0..6_u64 {
        // Over several of SQLite's checkpoints, which come every 1000 pages.
        while acknowledged.lock().unwrap().len() <= most + 150 {
            assert!(writer.0.try_wait().unwrap().is_none(), "the writer ended");
            tokio::time::sleep(Duration::from_millis(5 + image)).await;
        }
        let known: BTreeSet<String> = acknowledged.lock().unwrap().iter().cloned().collect();
        most = known.len();
        // Stopped, so that both files are of one moment, as a crash has it.
        kill_process(pid, Signal::STOP).unwrap();
        let copied = tempfile::tempdir().unwrap();
        copy(temp.path(), copied.path());
        kill_process(pid, Signal::CONT).unwrap();
        assert_eq!(check(copied.path()).unwrap().problems, Vec::<String>::new());
        let store = Store::open(copied.path()).unwrap();
        let mut found = BTreeSet::new();
        let mut before = None;
        loop {
            let page = store.jobs(JobFilter { before: before.take(), ..JobFilter::default() }).await.unwrap();
            let Some(last) = page.last() else { break };
            before = Some(last.id.clone());
            found.extend(page.into_iter().map(|job| job.id.to_string()));
        }
        assert_eq!(known.difference(&found).count(), 0, "acknowledged jobs are lost");
        store.close().await;
    }
    drop(writer);
    reader.join().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// A power loss takes what was written last and not synced: wherever that begins, what is left is a beginning of
    /// what was done, whole and in order.
    #[test]
    fn a_shorter_log_is_a_shorter_past(end in any::<prop::sample::Index>(), noise in any::<bool>()) {
        static MADE: OnceLock<tempfile::TempDir> = OnceLock::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let made = MADE.get_or_init(|| runtime.block_on(async {
            let live = tempfile::tempdir().unwrap();
            Store::open(live.path()).unwrap().close().await;
            let store = Store::open(live.path()).unwrap();
            for n in 0..25 {
                store.insert_job(&job(n), &spec(), no_files(&store, n), 100).await.unwrap();
                store.insert_machine(new_machine(n, 100)).await.unwrap();
            }
            let made = tempfile::tempdir().unwrap();
            copy(live.path(), made.path());
            store.close().await;
            made
        }));
        let temp = tempfile::tempdir().unwrap();
        copy(made.path(), temp.path());
        let log = temp.path().join("state.db-wal");
        let mut bytes = fs::read(&log).unwrap();
        let cut = 32 + end.index(bytes.len() - 32);
        if noise {
            // The file is as long as it was, but what was in it never reached the disk.
            bytes[cut..].fill(0);
        } else {
            bytes.truncate(cut);
        }
        fs::write(&log, bytes).unwrap();
        runtime.block_on(async {
            let store = Store::open(temp.path()).unwrap();
            let jobs: Vec<String> =
                store.queued().await.unwrap().into_iter().map(|job| job.id.to_string()).collect();
            let machines = store.machines().await.unwrap().len();
            let expected: Vec<String> = (0..25).take(jobs.len()).map(|n| job(n).to_string()).collect();
            assert_eq!(jobs, expected);
            assert!(machines == jobs.len() || machines + 1 == jobs.len(), "{machines} of {}", jobs.len());
            assert_eq!(store.machines().await.unwrap().iter().filter(|row| row.slot as usize >= machines).count(), 0);
            store.close().await;
        });
    }
}
