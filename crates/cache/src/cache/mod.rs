//! The cache itself: who gets in, and what there is.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fireactions_model::{MachineId, Secret};
use tokio::runtime::Handle;

use crate::bucket::{self, Bucket};
use crate::disk::Disk;
use crate::index::Entry;
use crate::sign::{Purpose, Signer};
use crate::state::{ENDED, Known, Session, State};
use crate::stats::Counts;
use crate::storage::Storage;
use crate::{CacheError, Clock, Grant, HostClock, Limits, Place, S3, Stats};

mod find;
mod room;
mod save;
mod shared;

pub use room::Cleaned;

/// Added to the clock since the boot, so that there are times before it, too.
const BEFORE_THE_BOOT: Duration = Duration::from_secs(366 * 24 * 3600);

/// What a cache is made with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory that is its own.
    pub root: PathBuf,
    /// Where entries are instead, shared with other hosts. What only one job finds stays in the directory.
    pub bucket: Option<S3>,
    /// How much there may be of everything.
    pub limits: Limits,
    /// Where guests reach it, without a slash at the end ("http://10.0.0.1:8090").
    pub base: String,
    /// The host's clock, but in tests.
    pub clock: Arc<dyn Clock>,
}

impl Options {
    /// With the default limits.
    pub fn new(root: &Path, base: &str) -> Self {
        Self {
            root: root.to_owned(),
            bucket: None,
            limits: Limits::default(),
            base: base.to_owned(),
            clock: Arc::new(HostClock),
        }
    }
}

/// A host's cache. Copies are the same one.
#[derive(Debug, Clone)]
pub struct Cache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    disk: Disk,
    bucket: Option<Bucket>,
    limits: Limits,
    base: String,
    clock: Arc<dyn Clock>,
    signer: Signer,
    state: Mutex<State>,
    /// Held by whoever makes room, so that the same is not given twice.
    room: Mutex<()>,
    counts: Counts,
}

impl Cache {
    /// Opens the cache in a directory, or makes one. Uploads of an earlier server are gone, and so is every file that is
    /// no whole entry. What a bucket has is not looked at before somebody asks for it. It blocks, and is called within a
    /// runtime.
    pub fn open(options: Options) -> Result<Self, CacheError> {
        let Options { root, bucket, limits, base, clock } = options;
        let disk = Disk::open(&root)?;
        let signer = Signer::open(&disk.secret())?;
        let mut found = disk.load((clock.boot() + BEFORE_THE_BOOT, clock.day()))?;
        let bucket = bucket.map(|s3| Bucket::open(&s3, &disk.journal(), Handle::current())).transpose()?;
        if bucket.is_some() {
            let all = found.len();
            found.retain(|entry| entry.place.scope.owner().is_some());
            let left = all - found.len();
            if left > 0 {
                tracing::warn!(path = %root.display(), entries = left, "entries from before the cache had a bucket are on the disk, and are not used: remove 'entries' there");
            }
        }
        found.sort_by_key(|entry| entry.serial);
        let mut state = State::default();
        for entry in found {
            let (repository, id) = (entry.place.repository.clone(), entry.id);
            if !state.index.add(entry) {
                disk.remove_entry(&repository, id);
            }
        }
        let state = Mutex::new(state);
        let (room, counts) = Default::default();
        let cache = Self(Arc::new(Inner { disk, bucket, limits, base, clock, signer, state, room, counts }));
        cache.sweep();
        Ok(cache)
    }

    /// Lets the job of a machine use the cache, until [`end`](Self::end). Gives its token: the same one each time, also
    /// after a restart. A second call changes what it may do.
    pub fn admit(&self, machine: &MachineId, grant: Grant) -> Secret {
        self.admit_as(machine, grant, true)
    }

    /// The same for a job of which it is not known yet whose it is: until [`admit`](Self::admit) says so, it has what it saves
    /// itself. Its first requests wait for that, for [`Limits::patience`] together. Where it is known, nothing changes.
    pub fn expect(&self, machine: &MachineId, address: IpAddr) -> Secret {
        self.admit_as(machine, Grant::alone(machine).from(address), false)
    }

    fn admit_as(&self, machine: &MachineId, grant: Grant, settled: bool) -> Secret {
        let known = Known { grant: Arc::new(grant), settled };
        self.state().admit(machine.clone(), known, self.0.limits.requests);
        Secret::new(self.0.signer.token(machine))
    }

    /// Says whose a job is that was let in. One that has ended meanwhile is not let in again.
    pub fn confirm(&self, machine: &MachineId, grant: Grant) {
        self.state().confirm(machine, Known { grant: Arc::new(grant), settled: true });
    }

    /// Whether a job was [expected](Self::expect) and nobody has said yet whose it is.
    pub fn is_open(&self, machine: &MachineId) -> bool {
        self.state().is_open(machine)
    }

    /// Where a job finds the first version of the service (`ACTIONS_CACHE_URL`). Its token is in it, because runners send
    /// a token of their own along.
    pub fn url(&self, machine: &MachineId) -> Secret {
        Secret::new(format!("{}/{}/", self.0.base, self.0.signer.token(machine)))
    }

    /// The job is over: its token and its addresses are worth nothing, and its uploads are gone, as is what only it could
    /// find. It blocks.
    pub fn end(&self, machine: &MachineId) {
        let left = self.state().end(machine);
        for upload in left {
            self.discard(&upload);
        }
        self.remove_alone();
    }

    /// What there is, for people: in no order that means anything.
    pub fn entries(&self) -> Vec<Entry> {
        self.state().index.all().cloned().collect()
    }

    /// For how long nobody used an entry.
    pub fn unused_for(&self, entry: &Entry) -> Duration {
        self.now().saturating_sub(entry.used)
    }

    /// Numbers.
    pub fn stats(&self) -> Stats {
        let counts = &self.0.counts;
        let state = self.state();
        Stats {
            hits: counts.hits.get(),
            misses: counts.misses.get(),
            saved: counts.saved.get(),
            evicted: counts.evicted.get(),
            errors: counts.errors.get(),
            received: counts.received.get(),
            sent: counts.sent.get(),
            entries: state.index.all().len() as u64,
            bytes: state.index.bytes(),
            uploads: state.uploads().len() as u64,
            jobs: state.jobs() as u64,
        }
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// Of content. More than a repository may have is no entry.
    pub(crate) fn largest(&self) -> u64 {
        let most = if self.0.bucket.is_some() { bucket::LARGEST } else { u64::MAX };
        self.0.limits.entry.min(self.0.limits.repository).min(self.0.limits.total).min(most)
    }

    /// Where an entry at this place is.
    fn storage(&self, place: &Place) -> &dyn Storage {
        match &self.0.bucket {
            // What one job alone finds is of no use to other hosts, and none of them knows when that job ends.
            Some(bucket) if place.scope.owner().is_none() => bucket,
            _ => &self.0.disk,
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.0.clock.boot() + BEFORE_THE_BOOT
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn enter(&self, token: &str, peer: Option<IpAddr>) -> Result<Session, CacheError> {
        let unknown = CacheError::Unknown("its token is none of this host's");
        let machine = self.0.signer.holder(token).ok_or(unknown)?;
        self.enter_as(machine, peer).await
    }

    async fn enter_as(&self, machine: MachineId, peer: Option<IpAddr>) -> Result<Session, CacheError> {
        let mut session = self.state().enter(machine, peer, self.0.limits.patience)?;
        if let Some((mut known, until)) = session.waits.take() {
            let settled = tokio::time::timeout_at(until, known.wait_for(|known| known.settled)).await;
            if matches!(settled, Ok(Err(_))) {
                return Err(ENDED);
            }
            drop(settled);
            session.grant = known.borrow().grant.clone();
        }
        Ok(session)
    }

    /// An address for one upload or entry, for this job alone and some time.
    pub(crate) fn address(&self, purpose: Purpose, machine: &MachineId, id: u64) -> String {
        let until = (self.now() + self.0.limits.address).as_secs();
        let signature = self.0.signer.signature(purpose, machine, id, until);
        let Inner { base, .. } = &*self.0;
        // Azure's client wants an account and a container before a name.
        format!("{base}/blobs/{}/{machine}/{id}?until={until}&signature={signature}", purpose.as_str())
    }

    pub(crate) async fn enter_address(
        &self,
        purpose: Purpose,
        (machine, id): (MachineId, u64),
        (until, signature): (u64, &str),
        peer: Option<IpAddr>,
    ) -> Result<Session, CacheError> {
        if !self.0.signer.is_good(purpose, &machine, id, (until, signature), self.now()) {
            return Err(CacheError::Unknown("this address is none of this host's, or has expired"));
        }
        self.enter_as(machine, peer).await
    }
}
