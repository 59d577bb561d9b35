//! A server killed with -9 at any moment: what it acknowledged is there, what it did not is there whole or
//! not at all, and no job is bound twice.

// A failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::*;
use fireactions_forge::local::FileSource;
use fireactions_model::{Forge, InputFile, JobId, JobState, MachineId};
use fireactions_store::JobFilter;

const DIR: &str = "FIREACTIONS_TEST_STATE_DIR";
const ROUND: &str = "FIREACTIONS_TEST_ROUND";

/// The server to be killed, in a process of its own.
#[tokio::test]
#[ignore = "run by what_was_acknowledged_survives_kill_9, which kills it"]
async fn child_that_writes_until_it_is_killed() {
    let dir = std::env::var(DIR).unwrap();
    let round: u64 = std::env::var(ROUND).unwrap().parse().unwrap();
    let (forge, _store, _events) = forge(dir.as_ref()).await;
    let pool = pool("p", "");
    let say = |line: String| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "ACK {line}").unwrap();
        out.flush().unwrap();
    };
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4_u64 {
        let (forge, pool) = (forge.clone(), pool.clone());
        writers.spawn(async move {
            for n in 0..u64::MAX {
                let bytes = format!("input of {writer} {n}").into_bytes();
                let mut job = spec("");
                job.files = vec![InputFile { dest: "/in".to_owned(), mode: 0o600, size: bytes.len() as u64 }];
                let job = forge.submit(job, vec![FileSource::Bytes(bytes)]).await.unwrap();
                say(format!("submitted {}", job.id));
                let offer = offer((round << 40) + (writer << 32) + n, &pool);
                let work = forge.acquire(&offer).await.unwrap();
                say(format!("bound {} {}", work.job, offer.machine));
                if n % 2 == 0 {
                    forge.finished(&work.job, &offer.machine, &exited(3)).await.unwrap();
                    say(format!("finished {} {}", work.job, offer.machine));
                }
            }
        });
    }
    writers.join_all().await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let temp = tempfile::tempdir().unwrap();
    let mut acknowledged: HashMap<JobId, (JobState, Option<MachineId>)> = HashMap::new();
    for round in 1..=8_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_writes_until_it_is_killed", "--ignored", "--nocapture"])
            .env(DIR, temp.path())
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let reader = std::thread::spawn(move || out.lines().map_while(Result::ok).collect::<Vec<_>>());
        tokio::time::sleep(Duration::from_millis(150 + 37 * round)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        for line in reader.join().unwrap() {
            // The test harness prints the test's name before the first line.
            let Some((_, line)) = line.split_once("ACK ") else { continue };
            let words: Vec<&str> = line.split(' ').collect();
            let id = JobId::new(words[1]).unwrap();
            let known = match words[..] {
                // Lines of different writers may come out in another order.
                ["submitted", _] => (JobState::Queued, None),
                ["bound", _, machine] => (JobState::Assigned, Some(MachineId::new(machine).unwrap())),
                ["finished", _, machine] => (JobState::Failed, Some(MachineId::new(machine).unwrap())),
                _ => panic!("unexpected line {line}"),
            };
            let entry = acknowledged.entry(id).or_insert_with(|| known.clone());
            if known.0 > entry.0 {
                *entry = known;
            }
        }

        let (forge, store, _events) = forge(temp.path()).await;
        let mut real = HashMap::new();
        let mut before = None;
        loop {
            let page = forge.list(JobFilter { before: before.take(), ..JobFilter::default() }).await.unwrap();
            let Some(last) = page.last() else { break };
            before = Some(last.id.clone());
            real.extend(page.into_iter().map(|job| (job.id.clone(), job)));
        }
        for (id, (state, machine)) in &acknowledged {
            let job = real.get(id).unwrap_or_else(|| panic!("acknowledged job {id} is lost"));
            assert!(job.state >= *state, "{id}: {} was acknowledged, {} is there", state, job.state);
            if machine.is_some() {
                assert_eq!(job.machine, *machine, "{id} moved to another machine");
            }
        }
        for job in real.values() {
            let input = std::fs::read(store.input_path(&job.id, 0)).unwrap();
            assert_eq!(
                input.len() as u64,
                job.spec.files[0].size,
                "{} is there without its whole input",
                job.id
            );
            assert!(job.attempt <= 1);
        }
        let dirs = std::fs::read_dir(temp.path().join("jobs")).unwrap().count();
        assert_eq!(dirs, real.len(), "directories without a job");
        drop(forge);
        store.close().await;
    }
    assert!(acknowledged.len() > 50, "only {} jobs were written", acknowledged.len());
}
