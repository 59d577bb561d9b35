//! Every call of the client against the router, over a real Unix socket.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use crate::common::{digest, job_id, machine_id, serve, spec};
use fireactions_api::*;
use fireactions_model::*;
use futures::{StreamExt, TryStreamExt};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn jobs() {
    let server = serve(Limits::default()).await;
    let client = &server.client;
    let no_files: [&str; 0] = [];
    assert_eq!(client.submit(&spec(), &no_files).await.unwrap().state, JobState::Queued);
    assert_eq!(client.jobs(&JobFilter::default()).await.unwrap().len(), 2);
    let active = client.jobs(&JobFilter { active: true, ..JobFilter::default() }).await.unwrap();
    assert_eq!(active.iter().map(|job| job.state).collect::<Vec<_>>(), [JobState::Running]);
    let failed = JobFilter { state: Some(JobState::Failed), limit: Some(u32::MAX), ..JobFilter::default() };
    assert_eq!(client.jobs(&failed).await.unwrap().len(), 1);
    let job = client.job(&job_id()).await.unwrap();
    assert_eq!((job.exit_code(), job.phases.get(&Phase::Kernel)), (Some(3), Some(&1_500_000)));
    assert!(client.cancel(&job_id()).await.unwrap().cancel_requested);
    let log: Vec<_> = client.service_log(&job_id(), "dockerd").await.unwrap().try_collect().await.unwrap();
    assert_eq!(log.concat(), b"listens\n");
    assert!(
        matches!(client.service_log(&job_id(), "none").await, Err(ClientError::Refused(fault)) if fault.code == Code::NotFound)
    );
    let tar: Vec<_> = client.artifact(&job_id(), 0).await.unwrap().try_collect().await.unwrap();
    assert_eq!(tar.concat(), b"tar");
    server.end().await;
}

#[tokio::test]
async fn files_arrive_whole_in_order_and_leave_nothing() {
    let server = serve(Limits::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let contents = [vec![b'a'; 300_000], Vec::new(), b"\ncr\r\n\0".to_vec()];
    let mut wanted = spec();
    let mut paths = Vec::new();
    for (index, content) in contents.iter().enumerate() {
        let path = dir.path().join(index.to_string());
        std::fs::write(&path, content).unwrap();
        paths.push(path);
        wanted.files.push(InputFile {
            dest: format!("/in/{index}"),
            mode: 0o644,
            size: content.len() as u64,
        });
    }
    server.client.submit(&wanted, &paths).await.unwrap();
    let submitted = server.fake.submitted.lock().unwrap().pop().unwrap();
    assert_eq!(submitted, (wanted.clone(), contents.to_vec()));
    assert_eq!(server.fake.spooled(), 0, "the engine kept nothing");

    // A file that shrank after its size was taken.
    std::fs::write(&paths[0], "short").unwrap();
    let error = server.client.submit(&wanted, &paths).await.unwrap_err();
    assert!(matches!(error, ClientError::Broken { .. } | ClientError::Refused(_)), "{error:?}");
    // The server sees the end of that request in its own time.
    for _ in 0..50 {
        if server.fake.spooled() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.fake.spooled(), 0, "nothing is left of what was refused");
    assert!(server.fake.submitted.lock().unwrap().is_empty());
}

#[tokio::test]
async fn logs_go_on_where_they_ended() {
    let server = serve(Limits::default()).await;
    let all: Vec<LogEvent> =
        server.client.job_log(&job_id(), 0, true).await.unwrap().try_collect().await.unwrap();
    let [LogEvent::Output(first), LogEvent::Output(second), LogEvent::Output(_), LogEvent::End(job)] =
        &all[..]
    else {
        panic!("{all:?}");
    };
    assert_eq!((first.stream, first.data.as_ref()), (Stream::Stdout, &b"out\n\xff"[..]));
    assert_eq!((second.stream, second.next), (Stream::Stderr, 2));
    assert_eq!(job.state, JobState::Failed);
    let rest: Vec<LogEvent> =
        server.client.job_log(&job_id(), 2, true).await.unwrap().try_collect().await.unwrap();
    assert_eq!(rest, all[2..]);
}

#[tokio::test]
async fn machines_and_their_consoles() {
    let server = serve(Limits::default()).await;
    assert_eq!(server.client.machines().await.unwrap().len(), 1);
    assert_eq!(server.client.machine(&machine_id()).await.unwrap().state, MachineState::Busy);
    let console = server.client.console(&machine_id(), Some(5), false).await.unwrap();
    assert_eq!(console.try_collect::<Vec<_>>().await.unwrap().concat(), b"tail Some(5)\n");
}

#[tokio::test]
async fn what_machines_use() {
    let server = serve(Limits::default()).await;
    let all = server.client.usage().await.unwrap();
    let told: Vec<_> = all.iter().map(|one| (one.memory, one.millicores)).collect();
    assert_eq!(told, [(64 << 20, Some(1250)), (1, None)]);
}

#[tokio::test]
async fn a_machine_without_a_job_is_let_go() {
    let server = serve(Limits::default()).await;
    let error = server.client.remove_machine(&machine_id()).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused(Fault { code: Code::Conflict, .. })), "{error:?}");
    server.fake.machine.lock().unwrap().state = MachineState::Held;
    assert_eq!(server.client.remove_machine(&machine_id()).await.unwrap().state, MachineState::Stopping);
    let error = server.client.remove_machine(&MachineId::from_random([9; 8])).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused(Fault { code: Code::NotFound, .. })), "{error:?}");
}

#[tokio::test]
async fn a_machine_is_to_be_held() {
    let server = serve(Limits::default()).await;
    let hold = async |secs| server.client.hold_machine(&machine_id(), HoldRequest { secs }).await;
    assert_eq!(hold(3600).await.unwrap().hold_secs, Some(3600));
    assert_eq!(hold(HOLD_MAX).await.unwrap().hold_secs, Some(HOLD_MAX));
    for secs in [0, HOLD_MAX + 1] {
        let error = hold(secs).await.unwrap_err();
        assert!(matches!(error, ClientError::Refused(Fault { code: Code::Invalid, .. })), "{error:?}");
    }
    assert_eq!(server.client.unhold_machine(&machine_id()).await.unwrap().hold_secs, None);
    server.fake.machine.lock().unwrap().state = MachineState::Ready;
    let error = hold(1).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused(Fault { code: Code::Conflict, .. })), "{error:?}");
}

#[tokio::test]
async fn the_host_is_drained_and_taken_into_use_again() {
    let server = serve(Limits::default()).await;
    let client = &server.client;
    let before = client.host().await.unwrap();
    assert_eq!((before.drained.as_ref(), before.busy(), before.machines[&MachineState::Held]), (None, 1, 1));
    let drain = DrainRequest { drained: true, reason: Some("a new kernel".to_owned()) };
    let drained = client.drain_host(&drain).await.unwrap();
    assert_eq!(drained.drained.as_ref().map(|drained| drained.why.as_str()), Some("a new kernel"));
    assert_eq!(client.host().await.unwrap(), drained);
    for reason in ["two\nlines".to_owned(), "x".repeat(REASON_MAX + 1)] {
        let error =
            client.drain_host(&DrainRequest { drained: true, reason: Some(reason) }).await.unwrap_err();
        assert!(matches!(error, ClientError::Refused(Fault { code: Code::Invalid, .. })), "{error:?}");
    }
    let odd = DrainRequest { drained: false, reason: Some("why".to_owned()) };
    assert!(client.drain_host(&odd).await.is_err(), "a reason to take work is a mistake");
    assert_eq!(client.drain_host(&DrainRequest::default()).await.unwrap().drained, None);
}

#[tokio::test]
async fn closing_ends_what_is_followed() {
    let server = serve(Limits::default()).await;
    let mut console = server.client.console(&machine_id(), None, true).await.unwrap();
    let mut events = server.client.events().await.unwrap();
    assert_eq!(console.next().await.unwrap().unwrap(), "tail None\n");
    server.end().await;
    // Raw bytes have no other way to say that there is more.
    let error = timeout(SOON, console.next()).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Broken { .. }) && error.is_transient(), "{error:?}");
    assert!(timeout(SOON, events.next()).await.unwrap().is_none());
}

#[tokio::test]
async fn pools() {
    let server = serve(Limits::default()).await;
    let name = PoolName::new("default").unwrap();
    assert_eq!(server.client.pools().await.unwrap(), [server.client.pool(&name).await.unwrap()]);
    assert!(server.client.pause_pool(&name, true).await.unwrap().paused);
    assert!(!server.client.pause_pool(&name, false).await.unwrap().paused);
    let scaled = server.client.scale_pool(&name, ScaleRequest { min: None, max: Some(9) }).await.unwrap();
    assert_eq!((scaled.min_runners, scaled.max_runners), (1, 9));
    let reset = server.client.reset_scale(&name).await.unwrap();
    assert_eq!((reset.min_runners, reset.max_runners), (reset.spec.min_runners, reset.spec.max_runners));
    assert_ne!(reset.max_runners, 9);
    for bad in [ScaleRequest { min: None, max: None }, ScaleRequest { min: Some(2), max: Some(1) }] {
        let error = server.client.scale_pool(&name, bad).await.unwrap_err();
        assert!(matches!(error, ClientError::Refused(Fault { code: Code::Invalid, .. })), "{error:?}");
    }
}

#[tokio::test]
async fn images() {
    let server = serve(Limits::default()).await;
    let client = &server.client;
    assert_eq!(client.images().await.unwrap()[0].digest, digest());
    let pull = |image: &str| PullRequest { image: ImageRef::new(image).unwrap(), policy: PullPolicy::Always };
    let steps: Vec<PullEvent> =
        client.pull_image(&pull("debian:12")).await.unwrap().try_collect().await.unwrap();
    assert_eq!((steps[0].status, steps[0].done), (PullStatus::Pulling, 5));
    assert_eq!((steps[1].status, steps[1].digest.as_ref()), (PullStatus::Ready, Some(&digest())));

    let mut broken = client.pull_image(&pull("broken:1")).await.unwrap();
    assert!(broken.next().await.unwrap().is_ok());
    let Some(Err(ClientError::Refused(fault))) = broken.next().await else { panic!("no fault") };
    assert_eq!((fault.code, fault.hint.as_deref()), (Code::Unavailable, Some("try later")));
    assert!(broken.next().await.is_none(), "a fault ends the stream");

    assert_eq!(client.remove_image("registry:5000/team/image:1").await.unwrap(), [digest()]);
    let error = client.remove_image("debian:12").await.unwrap_err();
    assert!(matches!(error, ClientError::Refused(Fault { code: Code::Conflict, .. })), "{error:?}");
    let report = client.gc_images(&GcRequest { max_bytes: Some(7), unused_for_secs: None }).await.unwrap();
    assert_eq!((report.freed, report.left), (7, 1));
}

#[tokio::test]
async fn caches() {
    let server = serve(Limits::default()).await;
    let client = &server.client;
    let caches = client.caches().await.unwrap();
    assert_eq!(caches, server.fake.caches().await.unwrap());
    assert_eq!(client.cache_entries().await.unwrap(), server.fake.cache_entries().await.unwrap());
    let report =
        client.gc_cache(&CacheGcRequest { max_bytes: Some(7), unused_for_secs: None }).await.unwrap();
    assert_eq!(report, CacheGcReport { removed: 1, freed: 3, left: 7 });
    let report = client.gc_sticky(&CacheGcRequest::default()).await.unwrap();
    assert_eq!(report, CacheGcReport { removed: 2, freed: 4, left: 9 });
}

#[tokio::test]
async fn events_are_heard_and_missed_ones_are_left_out() {
    let server = serve(Limits::default()).await;
    let mut events = server.client.events().await.unwrap();
    let event = Event::MachineGone { id: machine_id(), pool: PoolName::new("default").unwrap() };
    server.fake.events.send(event.clone()).unwrap();
    assert_eq!(timeout(SOON, events.next()).await.unwrap().unwrap().unwrap(), event);
    // What a queued job waits for is filled in on the way.
    let queued = Event::Job { job: Box::new(crate::common::job(JobState::Queued)) };
    server.fake.events.send(queued).unwrap();
    let heard = timeout(SOON, events.next()).await.unwrap().unwrap().unwrap();
    let Event::Job { job } = heard else { panic!("{heard:?}") };
    assert_eq!(job.waiting, Some(WaitReason::Paused { pool: PoolName::new("default").unwrap() }));
    // More at once than the engine keeps: the rest still comes.
    for micros in 0..200 {
        let pool = PoolName::new("default").unwrap();
        server.fake.events.send(Event::Phase { pool, phase: Phase::Net, micros }).unwrap();
    }
    let last = async {
        while let Some(event) = events.next().await {
            if matches!(event.unwrap(), Event::Phase { micros: 199, .. }) {
                return;
            }
        }
    };
    timeout(SOON, last).await.unwrap();
}

#[tokio::test]
async fn status() {
    let server = serve(Limits::default()).await;
    assert_eq!(server.client.version().await.unwrap().version, "1.2.3");
    let readiness = server.client.readiness().await.unwrap();
    assert_eq!((readiness.ready, readiness.reasons.as_slice()), (false, &["no kernel".to_owned()][..]));
}
