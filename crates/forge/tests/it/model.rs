//! The queue as a state machine against a small model of it: random submits, acquires, cancels, ends and
//! crashes, compared after every step.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::pin::pin;

use crate::common::*;
use fireactions_forge::local::LocalForge;
use fireactions_model::{
    DemandSource, Forge, ForgeError, JobId, JobState, MachineId, Outcome, PoolSpec, Release,
};
use fireactions_store::{JobFilter, Store};
use proptest::prelude::*;
use tokio::time::timeout;

#[derive(Debug, Clone)]
enum Op {
    Submit { labels: usize, vcpus: Option<u8> },
    Acquire { machine: u64, pool: usize },
    Started { machine: u64 },
    Finished { machine: u64, end: usize },
    Release { machine: u64 },
    Cancel { job: usize },
    Crash,
}

const LABELS: [&str; 4] = ["", "linux", "linux gpu", "arm64"];
const ATTEMPTS: u32 = 2;

fn pools() -> Vec<PoolSpec> {
    vec![pool("gpu", "linux gpu"), pool("plain", "linux")]
}

fn ends() -> [Outcome; 5] {
    [
        Outcome::Exited { code: 0 },
        Outcome::Exited { code: 3 },
        Outcome::TimedOut,
        Outcome::Cancelled,
        Outcome::Lost { reason: "test".to_owned() },
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let machine = 0..12_u64;
    prop_oneof![
        4 => (0..LABELS.len(), prop_oneof![3 => Just(None), 1 => Just(Some(2))])
            .prop_map(|(labels, vcpus)| Op::Submit { labels, vcpus }),
        5 => (machine.clone(), 0..2_usize).prop_map(|(machine, pool)| Op::Acquire { machine, pool }),
        2 => machine.clone().prop_map(|machine| Op::Started { machine }),
        4 => (machine.clone(), 0..5_usize).prop_map(|(machine, end)| Op::Finished { machine, end }),
        2 => machine.prop_map(|machine| Op::Release { machine }),
        2 => (0..10_usize).prop_map(|job| Op::Cancel { job }),
        1 => Just(Op::Crash),
    ]
}

#[derive(Debug)]
struct ModelJob {
    id: JobId,
    labels: usize,
    vcpus: Option<u8>,
    state: JobState,
    attempt: u32,
    machine: Option<u64>,
    cancel: bool,
}

#[derive(Debug, Default)]
struct Model {
    /// In the order of submission.
    jobs: Vec<ModelJob>,
    /// Machines that had or have a job, and whether they told its end.
    used: HashMap<u64, (usize, bool)>,
    released: Vec<u64>,
}

impl Model {
    fn fits(job: &ModelJob, pool: &PoolSpec) -> bool {
        job.state == JobState::Queued
            && labels(LABELS[job.labels]).iter().all(|label| pool.labels.contains(label))
            && job.vcpus.is_none()
    }

    fn bound(&self, machine: u64) -> Option<usize> {
        self.used.get(&machine).filter(|(_, told)| !told).map(|(job, _)| *job)
    }

    /// What each pool should be asked for.
    fn demand(&self, pools: &[PoolSpec]) -> BTreeMap<String, u32> {
        let mut all: BTreeMap<String, u32> = pools.iter().map(|pool| (pool.name.to_string(), 0)).collect();
        for job in self.jobs.iter().filter(|job| job.state == JobState::Queued) {
            // "plain" has fewer labels, so it is asked first.
            let name = match LABELS[job.labels] {
                "" | "linux" => "plain",
                "linux gpu" => "gpu",
                _ => continue,
            };
            *all.get_mut(name).unwrap() += 1;
        }
        all
    }
}

struct System {
    forge: LocalForge,
    store: Store,
    // Kept so that events have a listener.
    _events: tokio::sync::broadcast::Receiver<fireactions_model::Event>,
    dir: tempfile::TempDir,
}

async fn open(dir: tempfile::TempDir) -> System {
    let (forge, store, events) = forge(dir.path()).await;
    System { forge, store, _events: events, dir }
}

/// What a killed server leaves: the files as they are, without any goodbye.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_name() != "state.db-shm" {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

async fn step(system: &mut System, model: &mut Model, op: &Op) {
    let pools = pools();
    let forge = &system.forge;
    match op {
        Op::Submit { labels, vcpus } => {
            let mut job = spec(LABELS[*labels]);
            job.vcpus = *vcpus;
            let id = forge.submit(job, Vec::new()).await.unwrap().id;
            model.jobs.push(ModelJob {
                id,
                labels: *labels,
                vcpus: *vcpus,
                state: JobState::Queued,
                attempt: 0,
                machine: None,
                cancel: false,
            });
        }
        Op::Acquire { machine: n, pool } => {
            let (pool, offer) = (&pools[*pool], offer(*n, &pools[*pool]));
            if let Some(job) = model.bound(*n) {
                let work = timeout(SOON, forge.acquire(&offer)).await.unwrap().unwrap();
                assert_eq!(work.job, model.jobs[job].id);
            } else if model.used.contains_key(n) || model.released.contains(n) {
                let answer = timeout(SOON, forge.acquire(&offer)).await.unwrap();
                assert!(matches!(answer, Err(ForgeError::Refused(_))), "{answer:?}");
            } else if let Some(first) = model.jobs.iter().position(|job| Model::fits(job, pool)) {
                let work = timeout(SOON, forge.acquire(&offer)).await.unwrap().unwrap();
                let job = &mut model.jobs[first];
                assert_eq!(work.job, job.id);
                (job.state, job.machine) = (JobState::Assigned, Some(*n));
                job.attempt += 1;
                model.used.insert(*n, (first, false));
            } else {
                waits(&system.store, pin!(forge.acquire(&offer))).await;
            }
        }
        Op::Started { machine: n } => {
            let Some((index, _)) = model.used.get(n).copied() else { return };
            let job = &mut model.jobs[index];
            let answer = forge.started(&job.id, &machine(*n)).await;
            if model.used[n].1 {
                assert_eq!(answer, Err(ForgeError::NotBound(job.id.clone())));
            } else {
                answer.unwrap();
                job.state = JobState::Running;
            }
        }
        Op::Finished { machine: n, end } => {
            let outcome = ends()[*end].clone();
            let Some((index, told)) = model.used.get(n).copied() else { return };
            let job = &mut model.jobs[index];
            forge.finished(&job.id, &machine(*n), &report(outcome.clone())).await.unwrap();
            if told {
                return;
            }
            model.used.insert(*n, (index, true));
            job.state = match outcome {
                Outcome::Exited { code: 0 } => JobState::Succeeded,
                Outcome::TimedOut => JobState::TimedOut,
                Outcome::Cancelled => JobState::Cancelled,
                Outcome::Lost { .. } if job.cancel => JobState::Cancelled,
                Outcome::Lost { .. } if job.attempt < ATTEMPTS => JobState::Queued,
                Outcome::Lost { .. } => JobState::Lost,
                _ => JobState::Failed,
            };
        }
        Op::Release { machine: n } => {
            let answer = forge.release(&machine(*n)).await.unwrap();
            if let Some(job) = model.bound(*n) {
                assert_eq!(answer, Release::Bound(model.jobs[job].id.clone()));
            } else {
                assert_eq!(answer, Release::Idle);
                model.released.push(*n);
            }
        }
        Op::Cancel { job } => {
            let Some(job) = model.jobs.get_mut(*job) else { return };
            forge.cancel(&job.id).await.unwrap();
            match job.state {
                JobState::Queued => (job.state, job.cancel) = (JobState::Cancelled, true),
                JobState::Assigned | JobState::Running => {
                    job.cancel = true;
                    timeout(SOON, forge.cancelled(&job.id)).await.unwrap();
                }
                _ => {}
            }
        }
        Op::Crash => {
            let dir = tempfile::tempdir().unwrap();
            copy(system.dir.path(), dir.path());
            *system = open(dir).await;
        }
    }
}

async fn compare(system: &System, model: &Model) {
    let pools = pools();
    let jobs = system.forge.list(JobFilter::default()).await.unwrap();
    let real: Vec<_> = jobs
        .iter()
        .rev()
        .map(|job| (&job.id, job.state, job.attempt, job.machine.clone(), job.cancel_requested))
        .collect();
    let expected: Vec<_> = model
        .jobs
        .iter()
        .map(|job| (&job.id, job.state, job.attempt, job.machine.map(machine), job.cancel))
        .collect();
    assert_eq!(real, expected);
    let bound: Vec<MachineId> =
        system.store.bound_jobs().await.unwrap().into_iter().filter_map(|job| job.machine).collect();
    let expected: Vec<MachineId> = model
        .jobs
        .iter()
        .filter(|job| matches!(job.state, JobState::Assigned | JobState::Running))
        .filter_map(|job| job.machine.map(machine))
        .collect();
    assert_eq!(bound, expected);
    let demand = system.forge.demand(&pools).await.unwrap();
    let demand: BTreeMap<String, u32> =
        demand.into_iter().map(|(name, shapes)| (name.to_string(), shapes.values().sum())).collect();
    assert_eq!(demand, model.demand(&pools));
}

/// Cases when nobody asks for more with `PROPTEST_CASES`.
const CASES: u32 = 15;

fn config() -> ProptestConfig {
    let config = ProptestConfig { max_shrink_iters: 200, ..ProptestConfig::default() };
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { config.cases } else { CASES };
    ProptestConfig { cases, ..config }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_queue_does_what_its_model_does(ops in prop::collection::vec(op(), 1..45)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut system = open(tempfile::tempdir().unwrap()).await;
            let mut model = Model::default();
            for op in &ops {
                step(&mut system, &mut model, op).await;
                compare(&system, &model).await;
            }
        });
    }
}
