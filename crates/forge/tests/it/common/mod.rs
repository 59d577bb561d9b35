//! What several tests need.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

pub(crate) mod log;
pub(crate) mod member;
pub(crate) mod told;

use std::fmt::Debug;
use std::path::Path;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use fireactions_forge::local::{LocalConfig, LocalForge};
use fireactions_model::{
    Event, ImageRef, JobRecord, JobSpec, Label, MachineId, Offer, Outcome, PhaseTimes, PoolName, PoolSpec,
    Program, Report, Shape, Usage,
};
use fireactions_store::Store;
use tokio::sync::broadcast;

/// Longer than anything here takes; a test that waits longer has found a lost wake-up.
pub const SOON: Duration = Duration::from_secs(60);
/// More than any call of a forge asks its store.
const QUESTIONS: usize = 8;

pub async fn forge_with(dir: &Path, config: LocalConfig) -> (LocalForge, Store, broadcast::Receiver<Event>) {
    let store = Store::open(dir).unwrap();
    let (events, heard) = broadcast::channel(10_000);
    (LocalForge::new(store.clone(), events, config).await.unwrap(), store, heard)
}

pub async fn forge(dir: &Path) -> (LocalForge, Store, broadcast::Receiver<Event>) {
    forge_with(dir, LocalConfig::default()).await
}

/// Sees that a call waits for news, and that nothing there is makes it return: it is polled, and each time what it asked the
/// store is answered, for the store answers in order. The call may be let go of then.
pub async fn waits<T: Debug>(store: &Store, mut call: Pin<&mut impl Future<Output = T>>) {
    for _ in 0..QUESTIONS {
        if let Poll::Ready(answer) = futures::poll!(call.as_mut()) {
            panic!("it does not wait: {answer:?}");
        }
        store.alive().await.unwrap();
    }
}

pub fn machine(n: u64) -> MachineId {
    MachineId::from_random(n.to_le_bytes())
}

pub fn labels(text: &str) -> Vec<Label> {
    text.split_whitespace().map(|label| Label::new(label).unwrap()).collect()
}

pub fn pool(name: &str, its_labels: &str) -> PoolSpec {
    PoolSpec {
        max_runners: 4,
        labels: labels(its_labels).into_iter().collect(),
        ..PoolSpec::new(
            PoolName::new(name).unwrap(),
            Shape { image: ImageRef::new("debian:12").unwrap(), vcpus: 1, memory_mib: 256, disk_mib: 1024 },
        )
    }
}

pub fn offer(n: u64, pool: &PoolSpec) -> Offer {
    Offer { machine: machine(n), pool: pool.clone().into(), shape: pool.shape.clone() }
}

pub fn spec(its_labels: &str) -> JobSpec {
    JobSpec {
        name: None,
        image: None,
        program: Program::Command { argv: vec!["true".to_owned()] },
        env: Vec::new(),
        labels: labels(its_labels),
        vcpus: None,
        memory_mib: None,
        disk_mib: None,
        timeout_secs: None,
        user: None,
        workdir: None,
        files: Vec::new(),
        artifacts: Vec::new(),
    }
}

pub async fn submit(forge: &LocalForge, its_labels: &str) -> JobRecord {
    forge.submit(spec(its_labels), Vec::new()).await.unwrap()
}

pub fn report(outcome: Outcome) -> Report {
    Report { outcome, usage: Usage::default(), phases: PhaseTimes::new(), notes: Vec::new(), autopsy: None }
}

pub fn lost() -> Report {
    report(Outcome::Lost { reason: "the VMM process died".to_owned() })
}

pub fn exited(code: i32) -> Report {
    report(Outcome::Exited { code })
}
