//! What people and metrics see of a hosted forge.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use fireactions_model::{
    ForgeView, JobId, JobRecord, JobSpec, JobState, PhaseTimes, Place, PoolName, Program, RemoteView, Usage,
};
use sha2::{Digest, Sha256};

use super::board::Waiting;
use super::{HostedForge, lock};

/// Counters.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    registered: AtomicU64,
    deliveries: Mutex<BTreeMap<&'static str, u64>>,
}

impl Counts {
    pub(crate) fn registered(&self) {
        self.registered.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn delivery(&self, what: &'static str) {
        *lock(&self.deliveries).entry(what).or_default() += 1;
    }
}

impl HostedForge {
    /// As metrics see it, now.
    pub fn view(&self) -> ForgeView {
        let counts = &self.inner.counts;
        ForgeView {
            name: self.inner.name.clone(),
            oldest: if self.listens() { self.heard().oldest() } else { BTreeMap::new() },
            remote: Some(RemoteView {
                registered: counts.registered.load(Ordering::Relaxed),
                requests: self.inner.remote.calls(),
                deliveries: lock(&counts.deliveries).clone(),
                limits: self.inner.remote.limits(),
            }),
        }
    }

    /// Jobs that wait at the forge for one of the pools, as far as they were heard of: the newest, at most so many, each with where
    /// it is to run; where hosts share them, at the one that listens alone. Their ids are made from the forge's numbers and go with
    /// the wait: a runner's row has an id of its own.
    pub fn queued(&self, most: usize) -> Vec<(JobRecord, Option<Place>)> {
        if !self.listens() {
            return Vec::new();
        }
        let board = self.heard();
        let mut all: Vec<(Option<&PoolName>, &Waiting)> = board.queue.all().collect();
        all.sort_by_key(|(_, waiting)| std::cmp::Reverse(waiting.since()));
        all.truncate(most);
        let places = board.places();
        let place =
            |waiting: &Waiting| places.get(&(waiting.remote.scale_set.is_some(), waiting.id)).cloned();
        all.into_iter().map(|(pool, waiting)| (record(pool.cloned(), waiting), place(waiting))).collect()
    }

    /// One of [`HostedForge::queued`].
    pub fn queued_job(&self, id: &JobId) -> Option<(JobRecord, Option<Place>)> {
        let board = self.heard();
        let (pool, waiting) = board.queue.all().find(|(_, waiting)| id_of(waiting) == *id)?;
        let place = board.places().remove(&(waiting.remote.scale_set.is_some(), waiting.id));
        Some((record(pool.cloned(), waiting), place))
    }
}

fn id_of(waiting: &Waiting) -> JobId {
    let kind = if waiting.remote.scale_set.is_some() { "request" } else { "job" };
    let hash =
        Sha256::digest(format!("{} {} {kind} {}", waiting.remote.forge, waiting.remote.scope, waiting.id));
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash[..8]);
    JobId::from_random(bytes)
}

fn record(pool: Option<PoolName>, waiting: &Waiting) -> JobRecord {
    JobRecord {
        id: id_of(waiting),
        spec: JobSpec {
            name: waiting.remote.title(),
            image: None,
            program: Program::Image { args: Vec::new() },
            env: Vec::new(),
            labels: waiting
                .labels
                .iter()
                .filter_map(|label| fireactions_model::Label::new(label).ok())
                .collect(),
            vcpus: None,
            memory_mib: None,
            disk_mib: None,
            timeout_secs: None,
            user: None,
            workdir: None,
            files: Vec::new(),
            artifacts: Vec::new(),
        },
        state: JobState::Queued,
        attempt: 0,
        pool,
        machine: None,
        cancel_requested: false,
        outcome: None,
        reason: None,
        waiting: None,
        autopsy: None,
        remote: Some(waiting.remote.clone()),
        usage: Usage::default(),
        phases: PhaseTimes::new(),
        notes: Vec::new(),
        queued_at: waiting.since(),
        assigned_at: None,
        started_at: None,
        finished_at: None,
    }
}
