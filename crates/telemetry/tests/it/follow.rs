//! From the events of a server to traces.

use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use fireactions_model::*;
use fireactions_telemetry::{Protocol, *};
use jiff::Timestamp;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::collector::{Collector, Reply, until};
use crate::common::{at, job, patience, settings};

/// What a server has stored.
#[derive(Clone, Default)]
struct Stored {
    jobs: Arc<Mutex<Vec<JobRecord>>>,
}

#[async_trait]
impl Jobs for Stored {
    async fn job(&self, id: &JobId) -> Option<JobRecord> {
        self.jobs.lock().unwrap().iter().find(|job| job.id == *id).cloned()
    }

    async fn ended_after(&self, time: Timestamp) -> Vec<JobRecord> {
        let mut jobs = self.jobs.lock().unwrap().clone();
        jobs.retain(|job| job.finished_at.is_some_and(|ended| ended > time));
        jobs
    }

    fn machines(&self) -> Vec<Arc<MachineView>> {
        Vec::new()
    }
}

struct Server {
    events: broadcast::Sender<Event>,
    counts: Counts,
    stopping: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    fn start(collector: &Collector, stored: &Stored, mark: &Path, room: usize) -> Self {
        let (events, heard) = broadcast::channel(room);
        let (counts, stopping) = (Counts::default(), CancellationToken::new());
        let settings = settings(&collector.url(), Protocol::Http);
        let exporter = Exporter::start(settings, patience(), counts.clone(), stopping.clone()).unwrap();
        let follower = Follower::new(stored.clone(), exporter, mark.to_owned());
        let task = tokio::spawn(follower.run(heard, stopping.clone()));
        Self { events, counts, stopping, task }
    }

    fn tell(&self, job: &JobRecord) {
        self.events.send(Event::Job { job: Box::new(job.brief()) }).unwrap();
    }

    async fn stop(self) {
        self.stopping.cancel();
        self.task.await.unwrap();
    }
}

fn machine(job: &JobRecord) -> Event {
    let shape = serde_json::json!({"image": "debian:12", "vcpus": 1, "memory_mib": 256, "disk_mib": 64});
    let machine = MachineView {
        id: job.machine.clone().unwrap(),
        pool: PoolName::new("default").unwrap(),
        shape: serde_json::from_value(shape).unwrap(),
        state: MachineState::Ready,
        step: Step::Ready,
        job: None,
        pid: None,
        address: None,
        failure: None,
        phases: PhaseTimes::new(),
        created_at: at(400),
        state_since: at(900),
        held_until: None,
        hold_secs: None,
        started: None,
        unrecorded: None,
    };
    Event::Machine { machine: Arc::new(machine) }
}

/// Without what its machine's end adds.
fn just_ended(job: &JobRecord) -> JobRecord {
    let mut job = job.clone();
    job.phases.remove(&Phase::Teardown);
    job
}

/// Names of the spans of each trace that the collector has.
fn told(collector: &Collector) -> Vec<Vec<String>> {
    let requests = collector.taken();
    let spans = requests.iter().flat_map(|request| &request.resource_spans[0].scope_spans[0].spans);
    let mut traces: Vec<(Vec<u8>, Vec<String>)> = Vec::new();
    for span in spans {
        match traces.last_mut() {
            Some((id, names)) if *id == span.trace_id && !span.parent_span_id.is_empty() => {
                names.push(span.name.clone());
            }
            _ => traces.push((span.trace_id.clone(), vec![span.name.clone()])),
        }
    }
    traces.into_iter().map(|(_, names)| names).collect()
}

const WHOLE: [&str; 8] = ["test", "queued", "image", "kernel", "agent", "runner", "job", "teardown"];

#[tokio::test]
async fn a_job_is_told_once_when_its_machine_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(&[]).await;
    let (stored, job) = (Stored::default(), job(1));
    let server = Server::start(&collector, &stored, &dir.path().join("traces.json"), 64);
    server.events.send(machine(&job)).unwrap();
    let running = JobRecord { state: JobState::Running, finished_at: None, ..just_ended(&job) };
    server.tell(&running);
    stored.jobs.lock().unwrap().push(just_ended(&job));
    server.tell(&just_ended(&job));
    let gone = Event::MachineGone { id: job.machine.clone().unwrap(), pool: job.pool.clone().unwrap() };
    server.events.send(gone).unwrap();
    // Another one that is told at once, for it never had a machine. So the first still waits.
    let cancelled = JobRecord {
        machine: None,
        remote: None,
        assigned_at: None,
        started_at: None,
        phases: PhaseTimes::new(),
        ..crate::common::job(2)
    };
    server.tell(&cancelled);
    until("the second", || told(&collector).len() == 1).await;
    assert_eq!(told(&collector), [["job", "queued"]]);
    *stored.jobs.lock().unwrap() = vec![job.clone()];
    server.tell(&job);
    until("both", || told(&collector).len() == 2).await;
    assert_eq!(told(&collector)[1], WHOLE, "the machine was begun after the job came");
    // The link to its cause is in the store alone.
    let request = collector.taken().pop().unwrap();
    assert_eq!(request.resource_spans[0].scope_spans[0].spans[0].links.len(), 1);
    // A late word of its forge.
    server.tell(&job);
    server.stop().await;
    assert_eq!(told(&collector).len(), 2);
}

#[tokio::test]
async fn what_a_server_has_not_told_the_next_one_tells_and_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("traces.json");
    let (collector, stored) = (Collector::start(&[]).await, Stored::default());
    let ended = |number: u8, millis: i64| JobRecord {
        finished_at: Some(Timestamp::now() + std::time::Duration::from_millis(millis.unsigned_abs())),
        ..job(number)
    };
    // Of what ended before it was asked for, nobody is told.
    stored.jobs.lock().unwrap().push(job(9));
    let server = Server::start(&collector, &stored, &mark, 64);
    let first = ended(1, 1_000);
    stored.jobs.lock().unwrap().push(first.clone());
    server.tell(&first);
    until("the first", || told(&collector).len() == 1).await;
    server.stop().await;
    // The next one gets no word through.
    let second = ended(2, 2_000);
    stored.jobs.lock().unwrap().push(second.clone());
    collector.will(&[Reply::Silence]);
    let server = Server::start(&collector, &stored, &mark, 64);
    until("it is on its way", || collector.headers().len() == 2).await;
    let counts = server.counts.clone();
    server.stop().await;
    assert!(counts.get().dropped.contains(&("stopped", 1)));
    assert_eq!(told(&collector).len(), 1);
    // The one after that does, once.
    for _ in 0..2 {
        let server = Server::start(&collector, &stored, &mark, 64);
        until("the second", || told(&collector).len() == 2).await;
        server.stop().await;
    }
    assert_eq!(told(&collector).len(), 2);
    let ids: Vec<_> = collector
        .taken()
        .iter()
        .map(|request| request.resource_spans[0].scope_spans[0].spans[0].trace_id.clone())
        .collect();
    assert_eq!(ids, [first.id.trace_id().bytes(), second.id.trace_id().bytes()]);
}

#[tokio::test]
async fn a_job_whose_end_no_event_has_said_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (collector, stored) = (Collector::start(&[]).await, Stored::default());
    let server = Server::start(&collector, &stored, &dir.path().join("traces.json"), 2);
    let ended =
        JobRecord { finished_at: Some(Timestamp::now() + std::time::Duration::from_secs(1)), ..job(1) };
    stored.jobs.lock().unwrap().push(ended.clone());
    // Nobody hears the first of these: nothing runs between them.
    server.tell(&ended);
    for _ in 0..3 {
        server.events.send(machine(&ended)).unwrap();
    }
    until("it is told", || told(&collector).len() == 1).await;
    server.stop().await;
    assert_eq!(told(&collector).len(), 1);
}
