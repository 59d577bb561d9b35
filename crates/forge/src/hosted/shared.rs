//! A forge whose jobs several hosts share. One of them listens to it for all, and is told by the others which runners they have; each
//! host's own board knows the jobs that it was given, and nothing else.
//!
//! ```text
//!  forge ─▶ listeners ─▶ what was heard: counts, words of runners ─▶ shares ─▶ each host's board ─▶ demand
//!                                                       ▲                            │
//!                                                       └──────── reports ◀──────────┘
//! ```
//!
//! How it comes from host to host is not known here. What the forge says of a runner counts as taken over once its host can hear
//! it, whatever becomes of the one that listens: only then is the forge told that it was heard.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fireactions_model::{
    AssignedJobs, ForgeReport, ForgeShare, JobId, PoolName, PoolSpec, RemoteJob, RunnerWord,
};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::board::{Board, Waiting, describe};
use super::{HostedForge, lock, of};

/// For a word to be where its host can hear it. Then the forge tells it again.
const TOLD: Duration = Duration::from_secs(10);
/// A word of a runner that its host does not report any more is kept for so long: the report may be on its way.
const KEPT_GONE: Duration = Duration::from_secs(10);
/// A word of a runner whose host is not there is kept for so long: its machines may run on.
const KEPT_UNKNOWN: Duration = Duration::from_secs(3600);
/// Most words that are kept. Older ones go first.
const MOST: usize = 20_000;

/// What one host knows for all, and what it was told itself.
pub(super) struct Shared {
    /// This host listens for all.
    leads: AtomicBool,
    /// What the forge has said since then. No runner is on it.
    heard: Mutex<Board>,
    /// Most machines of each pool on all hosts.
    capacity: watch::Sender<BTreeMap<PoolName, u32>>,
    words: Mutex<Words>,
    /// So many words are where their hosts can hear them.
    told: watch::Sender<u64>,
    /// Changes when another share or report may be due.
    changed: watch::Sender<()>,
    /// Words that this host has written down.
    noted: Mutex<HashMap<JobId, RunnerWord>>,
}

impl Shared {
    pub(super) fn new(heard: Board) -> Self {
        Self {
            leads: AtomicBool::new(false),
            heard: Mutex::new(heard),
            capacity: watch::Sender::default(),
            words: Mutex::default(),
            told: watch::Sender::default(),
            changed: watch::Sender::default(),
            noted: Mutex::default(),
        }
    }

    pub(super) const fn heard(&self) -> &Mutex<Board> {
        &self.heard
    }

    pub(super) const fn capacity(&self) -> &watch::Sender<BTreeMap<PoolName, u32>> {
        &self.capacity
    }

    pub(super) fn leads(&self) -> bool {
        self.leads.load(Ordering::SeqCst)
    }

    pub(super) fn wake(&self) {
        self.changed.send_replace(());
    }
}

/// What the forge says of runners.
#[derive(Debug, Default)]
struct Words {
    by_runner: BTreeMap<String, Kept>,
    /// How many were ever said.
    count: u64,
}

#[derive(Debug)]
struct Kept {
    word: RunnerWord,
    /// When it was said, or the runner was last reported.
    seen: Instant,
}

impl Words {
    /// Adds one to what is known of the runner. A runner whose job has ended begins no other.
    fn say(&mut self, runner: &str, word: RunnerWord, now: Instant) -> u64 {
        self.count += 1;
        if let Some(kept) = self.by_runner.get_mut(runner) {
            add(&mut kept.word.job, &word.job);
            kept.word.ended |= word.ended;
            kept.seen = now;
            return self.count;
        }
        if self.by_runner.len() >= MOST {
            let oldest = self.by_runner.iter().min_by_key(|(_, kept)| kept.seen);
            if let Some(oldest) = oldest.map(|(runner, _)| runner.clone()) {
                self.by_runner.remove(&oldest);
            }
        }
        self.by_runner.insert(runner.to_owned(), Kept { word, seen: now });
        self.count
    }
}

/// Under what the runner of another host stands on the board of the host that listens: its own row is not known there.
fn row_of(runner: &str) -> JobId {
    let hash = Sha256::digest(runner);
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash[..8]);
    JobId::from_random(bytes)
}

/// Adds what the forge's queue tells of a job to what is known of its runner.
fn add(known: &mut RemoteJob, told: &RemoteJob) {
    describe(known, told);
    if told.queue_says.is_some() {
        known.queue_says.clone_from(&told.queue_says);
    }
    known.deregistered |= told.deregistered;
}

/// What the host that listened before has left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Earlier {
    /// What the forge had said of runners.
    pub words: BTreeMap<String, RunnerWord>,
    /// What it held at the forge ([`HostedForge::held`]).
    pub held: BTreeMap<PoolName, String>,
}

/// What the forge has said to the host that listens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// Jobs of each pool: those that the forge has assigned to it, or that wait for it and run there.
    pub assigned: BTreeMap<PoolName, AssignedJobs>,
    /// The jobs that wait for each pool, where it is known which these are; the oldest first, and as many as there may be machines.
    pub waiting: BTreeMap<PoolName, Vec<RemoteJob>>,
    /// What it says of runners.
    pub words: BTreeMap<String, RunnerWord>,
    /// How many words that is; for [`HostedForge::told`].
    pub count: u64,
}

/// Whether a runner is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Its host reports it.
    There,
    /// Its host is there, and does not.
    Gone,
    /// Its host is not there, or nobody knows which that is.
    Unknown,
}

impl HostedForge {
    /// Whether other hosts have the forge's jobs, too.
    pub fn is_shared(&self) -> bool {
        self.inner.shared.is_some()
    }

    /// Whether this host listens to the forge for others.
    pub fn leads(&self) -> bool {
        self.inner.shared.as_ref().is_some_and(Shared::leads)
    }

    /// Listens to the forge for all hosts, until `stop`. Its other work is [`run`](Self::run)'s.
    pub async fn lead(&self, pools: &[PoolSpec], earlier: Earlier, stop: CancellationToken) {
        let Some(shared) = &self.inner.shared else { return };
        let pools = of(&self.inner.name, pools);
        let on_each_host = self.inner.remote.listens_on_each_host();
        if !on_each_host {
            let mut heard = Board::new(self.inner.remote.rules());
            heard.set_pools(pools.clone());
            *lock(&shared.heard) = heard;
        }
        {
            let mut words = lock(&shared.words);
            words.by_runner.clear();
            let now = Instant::now();
            for (runner, word) in earlier.words {
                words.say(&runner, word, now);
            }
            shared.told.send_replace(words.count);
        }
        shared.leads.store(true, Ordering::SeqCst);
        // Otherwise the forge keeps this host out until it has missed the one before.
        self.inner.remote.free(&pools, &earlier.held).await;
        if on_each_host {
            // Since it runs: this host has heard of all jobs already.
            stop.cancelled().await;
        } else {
            futures::future::join_all(self.inner.remote.listeners(self, &pools, &stop)).await;
        }
        shared.leads.store(false, Ordering::SeqCst);
        if !on_each_host {
            *lock(&shared.heard) = Board::new(self.inner.remote.rules());
        }
        shared.wake();
    }

    /// What this host holds at the forge that one host at a time can, in words for [`Earlier`] alone. No secret.
    pub fn held(&self) -> BTreeMap<PoolName, String> {
        self.inner.remote.holds()
    }

    /// What was heard since this host listens; nothing where it does not.
    pub fn heard_so_far(&self) -> Option<Heard> {
        let shared = self.inner.shared.as_ref().filter(|shared| shared.leads())?;
        // Both at once, as they were said: a runner whose end is told is not to be taken for one that is lacking.
        let heard = lock(&shared.heard);
        let words = lock(&shared.words);
        let placed = heard.placed();
        let (assigned, waiting) = (heard.counted(&placed, Instant::now()), heard.to_give(&placed));
        let by_runner = words.by_runner.iter().map(|(runner, kept)| (runner.clone(), kept.word.clone()));
        Some(Heard { assigned, waiting, words: by_runner.collect(), count: words.count })
    }

    /// So many words are where their hosts can hear them. What was said of runners that are not there is forgotten after a while.
    pub fn told(&self, count: u64, presence: &dyn Fn(&str) -> Presence) {
        let Some(shared) = &self.inner.shared else { return };
        let now = Instant::now();
        lock(&shared.words).by_runner.retain(|runner, kept| {
            let most = match presence(runner) {
                Presence::There => {
                    kept.seen = now;
                    return true;
                }
                Presence::Gone => KEPT_GONE,
                Presence::Unknown => KEPT_UNKNOWN,
            };
            now.saturating_duration_since(kept.seen) < most
        });
        shared.told.send_if_modified(|told| {
            let more = count > *told;
            *told = count.max(*told);
            more
        });
    }

    /// The runners that the hosts report now, this one among them.
    pub fn set_reports<'a>(&self, reports: impl Iterator<Item = &'a ForgeReport>) {
        let Some(shared) = &self.inner.shared else { return };
        let pools = reports.flat_map(|report| &report.pools);
        let runners = pools.flat_map(|(pool, report)| {
            report.runners.iter().map(move |(runner, is_busy)| (runner.as_str(), (pool, *is_busy)))
        });
        lock(&shared.heard).runners.reported(&runners.collect(), row_of, Instant::now());
    }

    /// Most machines of each pool on all hosts.
    pub fn set_shared_capacity(&self, capacity: BTreeMap<PoolName, u32>) {
        let Some(shared) = &self.inner.shared else { return };
        lock(&shared.heard).set_capacity(capacity.clone());
        shared.capacity.send_if_modified(|known| {
            let changed = *known != capacity;
            if changed {
                *known = capacity;
            }
            changed
        });
    }

    /// Changes when another share or report may be due.
    pub fn sharing_changes(&self) -> watch::Receiver<()> {
        match &self.inner.shared {
            Some(shared) => shared.changed.subscribe(),
            None => watch::Sender::default().subscribe(),
        }
    }

    /// This host's runners, for the one that listens.
    pub fn report(&self) -> ForgeReport {
        self.board().report(Instant::now())
    }

    /// What this host is to have runners for from now on, and what the forge says of its runners. May be told again and again. `revision`
    /// is the share's own; reports tell that it was taken. Without one, nothing was given yet.
    pub async fn take_share(&self, mut share: ForgeShare, revision: Option<u64>) {
        let Some(shared) = &self.inner.shared else { return };
        let now = Instant::now();
        let mut words = Vec::new();
        let mut news = false;
        {
            // At once: a runner whose end is told is not to be taken for one that is lacking.
            let mut board = self.board();
            board.set_taken(revision, share.counted);
            for name in board.names() {
                let jobs = share.pools.get(&name).copied().unwrap_or_default();
                news |= board.set_assigned(&name, jobs);
                let jobs = share.jobs.remove(&name).unwrap_or_default().into_iter();
                board.queue.give(&name, jobs.filter_map(|job| Waiting::of_other(job, now)));
            }
            for (runner, word) in share.words {
                let Some(row) = board.runners.named(&runner).cloned() else { continue };
                news |= if word.ended {
                    board.runners.ended(&row, true, now)
                } else {
                    board.runners.began(&row, true, now)
                };
                words.push((row, word));
            }
        }
        if news {
            self.wake();
        }
        lock(&shared.noted).retain(|row, _| words.iter().any(|(told, _)| told == row));
        let mut pools = std::collections::BTreeSet::new();
        for (row, word) in words {
            if lock(&shared.noted).get(&row) == Some(&word) {
                continue;
            }
            let pool = self.board().runners.get(&row).map(|runner| runner.pool.clone());
            if self.take_word(&row, word.clone()).await {
                lock(&shared.noted).insert(row, word);
            }
            pools.extend(pool);
        }
        for pool in pools {
            self.inner.remote.look_at_origins(self, &pool).await;
        }
    }

    /// What the forge says at once of a pool's jobs and of runners, by their names, whichever host has them. The count is not told where
    /// it was before. False when a word could not be written down, or be told to its host: the forge is to say it again.
    pub(crate) async fn hear(
        &self,
        pool: &PoolName,
        assigned: Option<AssignedJobs>,
        said: Vec<(String, RunnerWord)>,
    ) -> bool {
        let Some(shared) = &self.inner.shared else {
            // First of all: a runner whose end is told is not to be taken for one that is lacking.
            if let Some(assigned) = assigned {
                self.board().set_assigned(pool, assigned);
            }
            let mut is_noted = true;
            for (runner, word) in said {
                let row = self.board().runners.named(&runner).cloned();
                if let Some(row) = row {
                    is_noted &= self.take_word(&row, word).await;
                }
            }
            return is_noted;
        };
        let has_words = !said.is_empty();
        let count = {
            let mut heard = lock(&shared.heard);
            let mut words = lock(&shared.words);
            if let Some(assigned) = assigned {
                heard.set_assigned(pool, assigned);
            }
            let now = Instant::now();
            for (runner, word) in said {
                words.say(&runner, word, now);
            }
            words.count
        };
        shared.wake();
        if !has_words {
            return true;
        }
        let mut told = shared.told.subscribe();
        timeout(TOLD, told.wait_for(|told| *told >= count)).await.is_ok_and(|told| told.is_ok())
    }

    /// Writes down what the forge says of a runner of this host. False when it could not be, and may be once more.
    async fn take_word(&self, row: &JobId, word: RunnerWord) -> bool {
        let RunnerWord { ended, job } = word;
        let take = move |remote: &mut RemoteJob| add(remote, &job);
        if ended { self.over(row, true, take).await } else { self.picked_up(row, true, take).await }
    }
}
