//! A server killed with -9 at any moment: what it acknowledged is there, what it did not is there whole or
//! not at all, and no job is bound twice.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::common::*;
use fireactions_forge::local::FileSource;
use fireactions_model::{Forge, InputFile, JobId, JobState, MachineId, Output, Stream};
use fireactions_store::{JobFilter, NewMachineRow};

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
            .args(["--exact", "durability::child_that_writes_until_it_is_killed", "--ignored", "--nocapture"])
            .env(DIR, temp.path())
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Killed after so many lines, in the middle of others.
        let mut out = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let many = 30 + 7 * usize::try_from(round).unwrap();
        let mut lines: Vec<String> = out.by_ref().take(many).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        lines.extend(out);
        for line in lines {
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

/// A server restarted under a running job: its machine is adopted, asks for its work again and tells its output from
/// where the old server acknowledged it, which may be before what the log has.
#[tokio::test]
async fn an_adopted_machine_goes_on_with_its_job_and_its_output_is_kept_once() {
    let temp = tempfile::tempdir().unwrap();
    let (mut forge, mut store, _events) = forge(temp.path()).await;
    let (pool, vm) = (pool("p", ""), machine(2));
    let job = submit(&forge, "").await;
    forge.acquire(&offer(1, &pool)).await.unwrap();
    forge.output(&job.id, &machine(1), piece(0, "lost\n")).await.unwrap();
    forge.finished(&job.id, &machine(1), &lost()).await.unwrap();

    let offer = offer(2, &pool);
    let row = NewMachineRow { id: vm.clone(), spec: pool.clone(), shape: pool.shape.clone(), max_slots: 4 };
    store.insert_machine(row).await.unwrap();
    forge.acquire(&offer).await.unwrap();
    let whole = (0..40).map(|n| format!("line {n}\n")).collect::<Vec<_>>().concat();
    for round in 0..4_usize {
        // What came before `started` was told, or while it was being told, counts too.
        let (from, to) = ((round * 70).saturating_sub(25), (round + 1) * 70);
        forge.output(&job.id, &vm, piece(from, &whole[from..to])).await.unwrap();
        forge.output(&job.id, &vm, piece(from, &whole[from..to - 3])).await.unwrap();
        drop(forge);
        store.close().await;
        (forge, store, _) = self::forge(temp.path()).await;
        assert!(forge.recover().await.unwrap().is_empty());
        for _ in 0..2 {
            let work = forge.acquire(&offer).await.unwrap();
            assert_eq!(work.job, job.id);
        }
        if round == 1 {
            forge.started(&job.id, &vm).await.unwrap();
        }
    }
    forge.finished(&job.id, &vm, &exited(0)).await.unwrap();
    let end = forge.get(&job.id).await.unwrap().unwrap();
    assert_eq!((end.state, end.attempt), (JobState::Succeeded, 2));
    let (records, _) = store.read_log(&job.id, 0).await.unwrap();
    let text: String = records.iter().map(|record| str::from_utf8(&record.data).unwrap()).collect();
    let note = "attempt 2 starts on machine";
    assert_eq!(text.matches(note).count(), 1, "{text}");
    let (before, after) = text.split_once(note).unwrap();
    assert_eq!(before, "lost\n");
    assert!(after.ends_with(&whole[..280]), "{after}");
    assert_eq!(after.matches("line 0\n").count(), 1, "{after}");
}

fn piece(offset: usize, text: &str) -> Output {
    Output { offset: offset as u64, stream: Stream::Stdout, data: text.as_bytes().to_vec() }
}
