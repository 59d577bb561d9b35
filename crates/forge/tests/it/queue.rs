//! The way of a job through the queue.

use std::pin::pin;
use std::time::Duration;

use crate::common::*;
use fireactions_forge::local::{FileSource, LocalConfig};
use fireactions_model::{
    DemandSource, Event, Forge, ForgeError, InputFile, JobState, Label, MachineId, Offer, Outcome, Output,
    Phase, Place, Release, RetryPolicy, Shape, Stream, WorkSource,
};
use fireactions_store::{JobFilter, LogSource, StoreError};
use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;

#[tokio::test]
async fn a_job_goes_its_way_and_everybody_hears() {
    let temp = tempfile::tempdir().unwrap();
    let (forge, _store, mut events) = forge(temp.path()).await;
    let pool = pool("p", "linux x64");
    let mut spec = spec("linux");
    spec.files = vec![InputFile { dest: "/in".to_owned(), mode: 0o640, size: 5 }];
    spec.artifacts = vec!["/out".to_owned()];
    spec.timeout_secs = Some(30);
    let job = forge.submit(spec, vec![FileSource::Bytes(b"hello".to_vec())]).await.unwrap();
    assert_eq!((job.state, job.attempt), (JobState::Queued, 0));

    let work = timeout(SOON, forge.acquire(&offer(1, &pool))).await.unwrap().unwrap();
    assert_eq!(work.job, job.id);
    assert_eq!(work.timeout, Duration::from_secs(30));
    assert_eq!((work.files[0].dest.as_str(), work.files[0].mode), ("/in", 0o640));
    let WorkSource::Host(path) = &work.files[0].source else { panic!("{:?}", work.files) };
    assert_eq!(std::fs::read(path).unwrap(), b"hello");
    std::fs::write(&work.artifacts[0].dest, b"tar").unwrap();

    let vm = machine(1);
    forge.started(&job.id, &vm).await.unwrap();
    forge.started(&job.id, &vm).await.unwrap();
    forge
        .output(&job.id, &vm, Output { offset: 0, stream: Stream::Stdout, data: b"out".to_vec() })
        .await
        .unwrap();
    let mut end = exited(0);
    end.phases.insert(Phase::Job, 777);
    end.notes.push("a note".to_owned());
    forge.finished(&job.id, &vm, &end).await.unwrap();
    forge.finished(&job.id, &vm, &end).await.unwrap();

    let done = forge.get(&job.id).await.unwrap().unwrap();
    assert_eq!((done.state, done.exit_code(), done.attempt), (JobState::Succeeded, Some(0), 1));
    assert_eq!(done.phases[&Phase::Job], 777);
    assert!(done.phases.contains_key(&Phase::Queued));
    assert_eq!(done.notes, ["a note"]);
    assert_eq!((done.pool.unwrap(), done.machine.unwrap()), (pool.name.clone(), vm.clone()));
    assert!(done.queued_at <= done.assigned_at.unwrap());
    assert!(done.started_at.unwrap() <= done.finished_at.unwrap());

    let (mut states, mut queued_phases) = (Vec::new(), 0);
    while let Ok(event) = events.try_recv() {
        match event {
            Event::Job { job } => states.push(job.state),
            Event::Phase { phase: Phase::Queued, .. } => queued_phases += 1,
            other => panic!("unexpected {other:?}"),
        }
    }
    let expected = [JobState::Queued, JobState::Assigned, JobState::Running, JobState::Succeeded];
    assert_eq!(states, expected);
    assert_eq!(queued_phases, 1);

    // After its end the machine is no longer the job's.
    let late = forge
        .output(&job.id, &vm, Output { offset: 0, stream: Stream::Stdout, data: b"late".to_vec() })
        .await;
    assert_eq!(late, Err(ForgeError::NotBound(job.id.clone())));
    assert_eq!(forge.started(&job.id, &vm).await, Err(ForgeError::NotBound(job.id.clone())));
    let stranger = forge.finished(&job.id, &machine(2), &exited(1)).await;
    assert_eq!(stranger, Err(ForgeError::NotBound(job.id)));
}

/// As after a rebuild from pages of different age: the row says that the job waits, and an attempt is there already.
#[tokio::test]
async fn a_job_whose_record_contradicts_itself_blocks_no_other() {
    let temp = tempfile::tempdir().unwrap();
    let (forge, _store, _events) = forge(temp.path()).await;
    let pool = pool("p", "linux");
    let (broken, behind) = (submit(&forge, "linux").await, submit(&forge, "linux").await);
    let database = rusqlite::Connection::open(temp.path().join("state.db")).unwrap();
    database
        .execute(
            "INSERT INTO attempts (job, attempt, machine, pool, assigned_at)
             SELECT seq, 1, 'm0123456789', 'p', queued_at FROM jobs WHERE id = ?",
            [broken.id.as_str()],
        )
        .unwrap();
    drop(database);
    assert_eq!(timeout(SOON, forge.acquire(&offer(1, &pool))).await.unwrap().unwrap().job, behind.id);
    // When it is all that there is, its machine is told.
    let alone = timeout(SOON, forge.acquire(&offer(2, &pool))).await.unwrap();
    assert!(matches!(alone, Err(ForgeError::Unavailable { .. })), "{alone:?}");
}

#[tokio::test]
async fn a_waiting_machine_gets_the_next_job_and_a_dropped_acquire_loses_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let (forge, store, _events) = forge(temp.path()).await;
    let pool = pool("p", "linux");
    let first = offer(1, &pool);
    let mut waiting = pin!(forge.acquire(&first));
    waits(&store, waiting.as_mut()).await;
    let job = submit(&forge, "linux").await;
    assert_eq!(timeout(SOON, waiting).await.unwrap().unwrap().job, job.id);

    // Bound, but the answer was never taken: the same machine is told again, nobody else is.
    waits(&store, pin!(forge.acquire(&offer(2, &pool)))).await;
    let again = timeout(SOON, forge.acquire(&offer(1, &pool))).await.unwrap().unwrap();
    assert_eq!(again.job, job.id);
    assert_eq!(forge.get(&job.id).await.unwrap().unwrap().attempt, 1);

    // Dropped at every moment of its way, an acquire neither loses the job nor gives it to two.
    for micros in 0..60 {
        let job = submit(&forge, "linux").await;
        let first = offer(1000 + micros, &pool);
        let _ = timeout(Duration::from_micros(micros * 20), forge.acquire(&first)).await;
        // What was begun is in the store's queue before this call.
        let bound = forge.release(&first.machine).await.unwrap();
        let taker = match bound {
            Release::Bound(bound) => {
                assert_eq!(bound, job.id);
                first
            }
            Release::Idle => offer(2000 + micros, &pool),
        };
        assert_eq!(timeout(SOON, forge.acquire(&taker)).await.unwrap().unwrap().job, job.id);
        forge.finished(&job.id, &taker.machine, &exited(0)).await.unwrap();
    }
}

/// Returns when the machine has a job.
async fn assigned(events: &mut Receiver<Event>, machine: &MachineId) {
    let it_is = |event| match event {
        Event::Job { job } => job.machine.as_ref() == Some(machine) && job.state == JobState::Assigned,
        _ => false,
    };
    let heard = async { while !it_is(events.recv().await.unwrap()) {} };
    timeout(SOON, heard).await.unwrap();
}

#[tokio::test]
async fn release_and_acquire_never_both_win() {
    let temp = tempfile::tempdir().unwrap();
    let (forge, _store, mut events) = forge(temp.path()).await;
    let pool = pool("p", "");
    let (mut idle, mut bound) = (0, 0);
    for n in 0..150 {
        let offer = offer(n, &pool);
        let acquire = tokio::spawn({
            let (forge, offer) = (forge.clone(), offer.clone());
            async move { forge.acquire(&offer).await }
        });
        // From "surely released first" to "surely bound first", with all that is between.
        let submitting = async {
            tokio::time::sleep(Duration::from_micros(150_u64.saturating_sub(n) * 20)).await;
            submit(&forge, "").await
        };
        let releasing = async {
            tokio::time::sleep(Duration::from_micros(n * 20)).await;
            if n == 149 {
                assigned(&mut events, &offer.machine).await;
            }
            forge.release(&offer.machine).await
        };
        let (job, release) = tokio::join!(submitting, releasing);
        match release.unwrap() {
            Release::Idle => {
                idle += 1;
                let refused = timeout(SOON, acquire).await.unwrap().unwrap();
                assert!(matches!(refused, Err(ForgeError::Refused(_))), "{refused:?}");
                assert_eq!(forge.release(&offer.machine).await.unwrap(), Release::Idle);
                assert!(matches!(forge.acquire(&offer).await, Err(ForgeError::Refused(_))));
                assert_eq!(forge.get(&job.id).await.unwrap().unwrap().state, JobState::Queued);
                forge.cancel(&job.id).await.unwrap();
            }
            Release::Bound(id) => {
                bound += 1;
                assert_eq!(timeout(SOON, acquire).await.unwrap().unwrap().unwrap().job, id);
                forge.finished(&id, &offer.machine, &exited(0)).await.unwrap();
            }
        }
    }
    assert!(idle > 0 && bound > 0, "{idle} idle, {bound} bound");
}

#[tokio::test]
async fn a_machine_gets_one_job_in_its_life() {
    let temp = tempfile::tempdir().unwrap();
    let (forge, _store, _events) = forge(temp.path()).await;
    let pool = pool("p", "");
    let first = submit(&forge, "").await;
    submit(&forge, "").await;
    let same = offer(1, &pool);
    let (one, two, three) = tokio::join!(forge.acquire(&same), forge.acquire(&same), forge.acquire(&same));
    let all = [one.unwrap(), two.unwrap(), three.unwrap()];
    assert!(all.iter().all(|work| work.job == first.id), "{all:?}");
    forge.finished(&first.id, &machine(1), &exited(0)).await.unwrap();
    let refused = forge.acquire(&offer(1, &pool)).await;
    assert!(matches!(refused, Err(ForgeError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn a_lost_machines_job_is_retried_once_visibly_and_in_its_old_place() {
    let temp = tempfile::tempdir().unwrap();
    let (forge, store, _events) = forge(temp.path()).await;
    let pool = pool("p", "");
    let job = submit(&forge, "").await;
    let later = submit(&forge, "").await;
    forge.acquire(&offer(1, &pool)).await.unwrap();
    forge
        .output(&job.id, &machine(1), Output { offset: 0, stream: Stream::Stdout, data: b"one".to_vec() })
        .await
        .unwrap();
    forge.finished(&job.id, &machine(1), &lost()).await.unwrap();

    let waiting = forge.get(&job.id).await.unwrap().unwrap();
    assert_eq!((waiting.state, waiting.attempt, waiting.outcome), (JobState::Queued, 1, None));
    assert_eq!(
        waiting.reason.as_deref(),
        Some("attempt 1 was lost: the VMM process died; queued for attempt 2 of 2")
    );
    assert!(waiting.queued_at > job.queued_at);

    // It comes before the job that was submitted after it.
    assert_eq!(forge.acquire(&offer(2, &pool)).await.unwrap().job, job.id);
    assert_eq!(forge.acquire(&offer(3, &pool)).await.unwrap().job, later.id);
    // The dead machine's end told again changes nothing, whatever it says now.
    forge.finished(&job.id, &machine(1), &exited(0)).await.unwrap();
    assert_eq!(forge.get(&job.id).await.unwrap().unwrap().state, JobState::Assigned);
    let totals = store.log(&job.id).totals().await.unwrap();
    assert_eq!(totals.stdout, 0, "the second attempt's output counts from its start");

    forge
        .output(&job.id, &machine(2), Output { offset: 0, stream: Stream::Stdout, data: b"two".to_vec() })
        .await
        .unwrap();
    forge.finished(&job.id, &machine(2), &lost()).await.unwrap();
    let end = forge.get(&job.id).await.unwrap().unwrap();
    assert_eq!((end.state, end.attempt, end.exit_code()), (JobState::Lost, 2, Some(125)));
    assert_eq!(end.reason.as_deref(), Some("attempt 2 of 2 was lost: the VMM process died"));
    let (records, _) = store.read_log(&job.id, 0).await.unwrap();
    let sources: Vec<LogSource> = records.iter().map(|record| record.source).collect();
    assert_eq!(sources, [LogSource::Stdout, LogSource::Note, LogSource::Stdout]);
    let note = String::from_utf8(records[1].data.clone()).unwrap();
    assert!(
        note.starts_with(&format!("attempt 2 starts on machine {}: attempt 1 was lost", machine(2))),
        "{note}"
    );
}

#[tokio::test]
async fn what_ended_by_itself_is_never_run_again() {
    let temp = tempfile::tempdir().unwrap();
    let (forge, store, _events) = forge(temp.path()).await;
    let pool = pool("p", "");
    let unstartable = Outcome::Unstartable { reason: "no such user: bob".to_owned() };
    let ends = [
        (Outcome::Exited { code: 0 }, JobState::Succeeded, 0),
        (Outcome::Exited { code: 3 }, JobState::Failed, 3),
        (Outcome::Signalled { signal: 9 }, JobState::Failed, 137),
        (Outcome::TimedOut, JobState::TimedOut, 124),
        (Outcome::Cancelled, JobState::Cancelled, 130),
        (unstartable, JobState::Failed, 125),
    ];
    for (n, (outcome, state, code)) in (0..).zip(ends) {
        let job = submit(&forge, "").await;
        forge.acquire(&offer(n, &pool)).await.unwrap();
        forge.started(&job.id, &machine(n)).await.unwrap();
        forge.finished(&job.id, &machine(n), &report(outcome)).await.unwrap();
        forge.finished(&job.id, &machine(n), &lost()).await.unwrap();
        let end = forge.get(&job.id).await.unwrap().unwrap();
        assert_eq!((end.state, end.exit_code()), (state, Some(code)));
        assert_eq!(end.reason.is_none(), state == JobState::Succeeded);
    }
    waits(&store, pin!(forge.acquire(&offer(99, &pool)))).await;
}

#[tokio::test]
async fn cancelling() {
    let temp = tempfile::tempdir().unwrap();
    let (forge, store, _events) = forge(temp.path()).await;
    let pool = pool("p", "");
    // Queued: final at once, and nobody gets it.
    let queued = submit(&forge, "").await;
    let cancelled = forge.cancel(&queued.id).await.unwrap();
    assert_eq!((cancelled.state, cancelled.exit_code()), (JobState::Cancelled, Some(130)));
    waits(&store, pin!(forge.acquire(&offer(1, &pool)))).await;

    // Assigned: its machine hears, also who asks late, and no other job's.
    let (job, other) = (submit(&forge, "").await, submit(&forge, "").await);
    forge.acquire(&offer(1, &pool)).await.unwrap();
    forge.acquire(&offer(2, &pool)).await.unwrap();
    let mut hears = pin!(forge.cancelled(&job.id));
    waits(&store, hears.as_mut()).await;
    let asked = forge.cancel(&job.id).await.unwrap();
    assert_eq!((asked.state, asked.cancel_requested), (JobState::Assigned, true));
    timeout(SOON, hears).await.unwrap();
    timeout(SOON, forge.cancelled(&job.id)).await.unwrap();
    waits(&store, pin!(forge.cancelled(&other.id))).await;
    forge.finished(&job.id, &machine(1), &report(Outcome::Cancelled)).await.unwrap();
    assert_eq!(forge.get(&job.id).await.unwrap().unwrap().state, JobState::Cancelled);

    // Running, and the machine dies of it: cancelled, not retried.
    forge.started(&other.id, &machine(2)).await.unwrap();
    forge.cancel(&other.id).await.unwrap();
    forge.finished(&other.id, &machine(2), &lost()).await.unwrap();
    let end = forge.get(&other.id).await.unwrap().unwrap();
    assert_eq!((end.state, end.exit_code()), (JobState::Cancelled, Some(130)));
    // Final: stays.
    assert_eq!(forge.cancel(&other.id).await.unwrap(), end);
    let unknown = forge.cancel(&fireactions_model::JobId::from_random([9; 8])).await.unwrap_err();
    assert!(matches!(unknown, StoreError::NoJob(_)), "{unknown}");
}

#[tokio::test]
async fn each_job_is_demanded_of_one_pool_and_taken_by_any_that_fits() {
    let temp = tempfile::tempdir().unwrap();
    let (forge, store, mut events) = forge(temp.path()).await;
    let pools = [pool("big", "linux x64 gpu"), pool("first", "linux x64"), pool("second", "linux x64")];
    for wanted in ["", "linux", "linux x64", "gpu", "GPU linux"] {
        submit(&forge, wanted).await;
    }
    let arm = submit(&forge, "linux arm64").await;
    let mut large = spec("linux");
    large.vcpus = Some(4);
    let large = forge.submit(large, Vec::new()).await.unwrap();
    while events.try_recv().is_ok() {}

    let demand = forge.demand(&pools).await.unwrap();
    let small = pools[0].shape.clone();
    let wide = Shape { vcpus: 4, ..small.clone() };
    assert_eq!(demand[&pools[0].name], [(small.clone(), 2)].into());
    assert_eq!(demand[&pools[1].name], [(small.clone(), 3), (wide.clone(), 1)].into());
    assert_eq!(demand[&pools[2].name], [].into());

    // The job that nobody serves says why, once.
    let arm64 = Label::new("arm64").unwrap();
    let nowhere = Place::Nowhere { nearest: Some(pools[0].name.clone()), lacks: vec![arm64] };
    assert_eq!(forge.place(&arm.id), Some(nowhere));
    assert_eq!(forge.get(&arm.id).await.unwrap().unwrap().reason, None, "it is of what was, not of what is");
    let first = Place::Pool { pool: pools[1].name.clone(), shape: wide.clone(), ahead: 0 };
    assert_eq!(forge.place(&large.id), Some(first));
    forge.demand(&pools).await.unwrap();
    let Event::Job { job } = events.try_recv().unwrap() else { panic!("not a job") };
    assert_eq!(job.id, arm.id, "whoever listens looks again");
    assert!(events.try_recv().is_err());
    let with_arm = [pool("arm", "linux arm64")];
    assert_eq!(forge.demand(&with_arm).await.unwrap()[&with_arm[0].name].values().sum::<u32>(), 4);
    let ahead = |place| match place {
        Some(Place::Pool { ahead, .. }) => ahead,
        other => panic!("{other:?}"),
    };
    // A job that came after demand was asked for has its pool at once, too.
    let late = submit(&forge, "linux").await;
    assert_eq!(ahead(forge.place(&late.id)), 3);
    forge.cancel(&late.id).await.unwrap();
    assert_eq!(forge.place(&late.id), None);
    // Behind '', 'linux' and beside the large one, which is of another shape.
    assert_eq!(ahead(forge.place(&arm.id)), 2);
    assert_eq!(ahead(forge.place(&large.id)), 0);

    // A machine of another matching pool takes work too, but only of its own shape.
    let wide_offer = Offer { machine: machine(1), pool: pools[2].clone().into(), shape: wide };
    assert_eq!(forge.acquire(&wide_offer).await.unwrap().job, large.id);
    let wide_offer = Offer { machine: machine(2), ..wide_offer };
    waits(&store, pin!(forge.acquire(&wide_offer))).await;
    for n in 10..13 {
        forge.acquire(&offer(n, &pools[2])).await.unwrap();
    }
    // The rest needs a gpu or arm64.
    waits(&store, pin!(forge.acquire(&offer(13, &pools[2])))).await;
    assert_eq!(forge.demand(&pools).await.unwrap()[&pools[0].name], [(small, 2)].into());
}

#[tokio::test]
async fn changed_returns_after_each_change_of_demand() {
    let temp = tempfile::tempdir().unwrap();
    let (forge, store, _events) = forge(temp.path()).await;
    waits(&store, pin!(forge.changed())).await;
    let job = submit(&forge, "").await;
    timeout(SOON, forge.changed()).await.unwrap();
    waits(&store, pin!(forge.changed())).await;
    forge.cancel(&job.id).await.unwrap();
    timeout(SOON, forge.changed()).await.unwrap();
}

#[tokio::test]
async fn jobs_of_machines_without_a_row_are_recovered() {
    let temp = tempfile::tempdir().unwrap();
    let config = LocalConfig { retry: RetryPolicy { attempts: 1 }, ..LocalConfig::default() };
    let (forge, store, _events) = forge_with(temp.path(), config.clone()).await;
    let pool = pool("p", "");
    let (gone, kept) = (submit(&forge, "").await, submit(&forge, "").await);
    forge.acquire(&offer(1, &pool)).await.unwrap();
    forge.acquire(&offer(2, &pool)).await.unwrap();
    let row = fireactions_store::NewMachineRow {
        id: machine(2),
        spec: pool.clone(),
        shape: pool.shape.clone(),
        max_slots: 4,
    };
    store.insert_machine(row).await.unwrap();
    drop(forge);
    store.close().await;

    let (forge, _store, _events) = forge_with(temp.path(), config).await;
    let recovered = forge.recover().await.unwrap();
    assert_eq!(recovered.len(), 1);
    assert_eq!((&recovered[0].id, recovered[0].state), (&gone.id, JobState::Lost));
    assert_eq!(forge.get(&kept.id).await.unwrap().unwrap().state, JobState::Assigned);
    assert!(forge.recover().await.unwrap().is_empty());
    // Its machine goes on where it was.
    assert_eq!(forge.acquire(&offer(2, &pool)).await.unwrap().job, kept.id);
    forge
        .output(&kept.id, &machine(2), Output { offset: 0, stream: Stream::Stderr, data: b"x".to_vec() })
        .await
        .unwrap();
}

#[tokio::test]
async fn old_and_surplus_jobs_are_purged_with_their_files() {
    let temp = tempfile::tempdir().unwrap();
    let config = LocalConfig { keep: Duration::from_secs(3600), keep_jobs: 3, ..LocalConfig::default() };
    let (forge, store, _events) = forge_with(temp.path(), config).await;
    let pool = pool("p", "");
    let mut done = Vec::new();
    for n in 0..6 {
        let job = submit(&forge, "").await;
        forge.acquire(&offer(n, &pool)).await.unwrap();
        let output = Output { offset: 0, stream: Stream::Stdout, data: b"log".to_vec() };
        forge.output(&job.id, &machine(n), output).await.unwrap();
        forge.finished(&job.id, &machine(n), &exited(0)).await.unwrap();
        done.push(job.id);
    }
    let waiting = submit(&forge, "").await;
    assert_eq!(forge.purge().await.unwrap(), 3);
    let left: Vec<_> =
        forge.list(JobFilter::default()).await.unwrap().into_iter().map(|job| job.id).collect();
    assert_eq!(left, [&waiting.id, &done[5], &done[4], &done[3]].map(Clone::clone));
    assert!(!store.job_dir(&done[0]).exists());
    assert!(store.job_dir(&done[5]).join("log").exists());
    assert!(matches!(forge.finished(&done[0], &machine(0), &exited(0)).await, Err(ForgeError::NotBound(_))));

    let page =
        forge.list(JobFilter { limit: 2, before: Some(done[5].clone()), ..JobFilter::default() }).await;
    assert_eq!(page.unwrap().iter().map(|job| &job.id).collect::<Vec<_>>(), [&done[4], &done[3]]);
    // By age: everything that is final.
    store.purge_jobs(jiff::Timestamp::now() + jiff::SignedDuration::from_secs(5), 100).await.unwrap();
    let left = forge.list(JobFilter::default()).await.unwrap();
    assert_eq!(left.len(), 1);
    let only = JobFilter { states: vec![JobState::Succeeded, JobState::Failed], ..JobFilter::default() };
    assert!(forge.list(only).await.unwrap().is_empty());
}
