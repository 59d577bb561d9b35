//! What people and metrics see of GitHub.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use fireactions_model::{
    ForgeView, JobId, JobRecord, JobSpec, JobState, PhaseTimes, Place, PoolName, Program, RemoteView, Usage,
};
use sha2::{Digest, Sha256};

use super::board::Waiting;
use super::{GithubForge, NAME, lock};

/// Counters.
#[derive(Debug, Default)]
pub(super) struct Counts {
    registered: AtomicU64,
    deliveries: Mutex<BTreeMap<&'static str, u64>>,
}

impl Counts {
    pub(super) fn registered(&self) {
        self.registered.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn delivery(&self, what: &'static str) {
        *lock(&self.deliveries).entry(what).or_default() += 1;
    }
}

impl GithubForge {
    /// As metrics see it, now.
    pub fn view(&self) -> ForgeView {
        let counts = &self.inner.counts;
        ForgeView {
            name: NAME,
            oldest: self.board().oldest(),
            remote: Some(RemoteView {
                registered: counts.registered.load(Ordering::Relaxed),
                requests: self.inner.github.calls(),
                deliveries: lock(&counts.deliveries).clone(),
                limits: self.inner.github.limits(),
            }),
        }
    }

    /// Jobs that wait at GitHub for one of the pools, as far as they were heard of, the newest first. Their ids are made from
    /// GitHub's numbers and go with the wait: a runner's row has an id of its own.
    pub fn queued(&self) -> Vec<JobRecord> {
        let board = self.board();
        let mut all: Vec<JobRecord> =
            board.queue.all().map(|(pool, waiting)| record(pool.cloned(), waiting)).collect();
        drop(board);
        all.sort_by_key(|job| std::cmp::Reverse(job.queued_at));
        all
    }

    /// Where one of [`GithubForge::queued`] is to run.
    pub fn place(&self, id: &JobId) -> Option<Place> {
        let board = self.board();
        let (set, waiting) = board.queue.all().find(|(_, waiting)| id_of(waiting) == *id)?;
        let (pool, ahead) = match set {
            Some(pool) => {
                let ahead = board.queue.assigned_to(pool).position(|other| other.id == waiting.id)?;
                (board.pool(pool)?, u32::try_from(ahead).unwrap_or(u32::MAX))
            }
            None => board.place_of(waiting.id)?,
        };
        Some(Place::Pool { pool: pool.name.clone(), shape: pool.shape.clone(), ahead })
    }
}

fn id_of(waiting: &Waiting) -> JobId {
    let kind = if waiting.remote.scale_set.is_some() { "request" } else { "job" };
    let hash = Sha256::digest(format!("{NAME} {} {kind} {}", waiting.remote.scope, waiting.id));
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
        queued_at: waiting.queued_at.unwrap_or(waiting.heard),
        assigned_at: None,
        started_at: None,
        finished_at: None,
    }
}
