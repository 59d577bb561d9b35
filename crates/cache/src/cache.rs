//! The cache itself: who gets in, what is found, what is saved, and what goes.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fireactions_model::{MachineId, Secret};

use crate::disk::Disk;
use crate::entry_file::Label;
use crate::index::Entry;
use crate::sign::{Purpose, Signer};
use crate::state::{Session, State};
use crate::stats::Counts;
use crate::upload::{Claim, Extent, Parts, Upload};
use crate::{CacheError, Clock, Grant, HostClock, Key, Limits, Place, Repository, Stats, Version};

/// Added to the clock since the boot, so that there are times before it, too.
const BEFORE_THE_BOOT: Duration = Duration::from_secs(366 * 24 * 3600);
/// Integers that JavaScript can count.
const SAFE: u64 = (1 << 53) - 1;

/// What a cache is made with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory that is its own.
    pub root: PathBuf,
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
    limits: Limits,
    base: String,
    clock: Arc<dyn Clock>,
    signer: Signer,
    state: Mutex<State>,
    counts: Counts,
}

impl Cache {
    /// Opens the cache in a directory, or makes one. Uploads of an earlier server are gone, and so is every file that is
    /// no whole entry. It blocks.
    pub fn open(options: Options) -> Result<Self, CacheError> {
        let Options { root, limits, base, clock } = options;
        let disk = Disk::open(&root)?;
        let signer = Signer::open(&disk.secret())?;
        let mut found = disk.load((clock.boot() + BEFORE_THE_BOOT, clock.day()))?;
        found.sort_by_key(|entry| entry.serial);
        let mut state = State::default();
        for entry in found {
            let (repository, id) = (entry.place.repository.clone(), entry.id);
            if !state.index.add(entry) {
                disk.remove_entry(&repository, id);
            }
        }
        let state = Mutex::new(state);
        let cache =
            Self(Arc::new(Inner { disk, limits, base, clock, signer, state, counts: Counts::default() }));
        cache.sweep();
        Ok(cache)
    }

    /// Lets the job of a machine use the cache, until [`end`](Self::end). Gives its token: the same one each time, also
    /// after a restart. A second call changes what it may do.
    pub fn admit(&self, machine: &MachineId, grant: Grant) -> Secret {
        self.state().admit(machine.clone(), grant, self.0.limits.requests);
        Secret::new(self.0.signer.token(machine))
    }

    /// Where a job finds the first version of the service (`ACTIONS_CACHE_URL`). Its token is in it, because runners send
    /// a token of their own along.
    pub fn url(&self, machine: &MachineId) -> Secret {
        Secret::new(format!("{}/{}/", self.0.base, self.0.signer.token(machine)))
    }

    /// The job is over: its token and its addresses are worth nothing, and its uploads are gone. It blocks.
    pub fn end(&self, machine: &MachineId) {
        let left = self.state().end(machine);
        for upload in left {
            self.discard(&upload);
        }
    }

    /// Removes what is too old, and what is above the limits. It blocks.
    pub fn sweep(&self) {
        let now = self.now();
        let since = now.saturating_sub(self.0.limits.upload_idle);
        let idle = |upload: &&Arc<Upload>| upload.touched() < since;
        let stale: Vec<_> = self.state().uploads().filter(idle).cloned().collect();
        for upload in stale {
            self.discard(&upload);
        }
        let unused = now.saturating_sub(self.0.limits.idle);
        while let Some(entry) = self.evict(|state| state.index.oldest(Some(unused))) {
            self.0.disk.remove_entry(&entry.place.repository, entry.id);
        }
        if let Err(error) = self.make_room(None, 0) {
            tracing::debug!(%error, "the cache is empty, and still there is little room");
        }
    }

    /// What there is, for people: in no order that means anything.
    pub fn entries(&self) -> Vec<Entry> {
        self.state().index.all().cloned().collect()
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
        self.0.limits.entry.min(self.0.limits.repository).min(self.0.limits.total)
    }

    pub(crate) fn now(&self) -> Duration {
        self.0.clock.boot() + BEFORE_THE_BOOT
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // Who gets in.

    pub(crate) fn enter(&self, token: &str, peer: Option<IpAddr>) -> Result<Session, CacheError> {
        let unknown = CacheError::Unknown("its token is none of this host's");
        let machine = self.0.signer.holder(token).ok_or(unknown)?;
        self.state().enter(machine, peer)
    }

    /// An address for one upload or entry, for this job alone and some time.
    pub(crate) fn address(&self, purpose: Purpose, machine: &MachineId, id: u64) -> String {
        let until = (self.now() + self.0.limits.address).as_secs();
        let signature = self.0.signer.signature(purpose, machine, id, until);
        let Inner { base, .. } = &*self.0;
        // Azure's client wants an account and a container before a name.
        format!("{base}/blobs/{}/{machine}/{id}?until={until}&signature={signature}", purpose.as_str())
    }

    pub(crate) fn enter_address(
        &self,
        purpose: Purpose,
        (machine, id): (MachineId, u64),
        (until, signature): (u64, &str),
        peer: Option<IpAddr>,
    ) -> Result<Session, CacheError> {
        if !self.0.signer.is_good(purpose, &machine, id, (until, signature), self.now()) {
            return Err(CacheError::Unknown("this address is none of this host's, or has expired"));
        }
        self.state().enter(machine, peer)
    }

    // What is found.

    /// The entry that a job finds by these keys, the first one first.
    pub(crate) async fn find(
        &self,
        grant: &Grant,
        version: &Version,
        keys: &[Key],
    ) -> Result<Option<Entry>, CacheError> {
        if grant.reads.is_empty() {
            return Err(CacheError::ReadDenied);
        }
        loop {
            let found = self.state().index.find(grant, version, keys).cloned();
            let Some(entry) = found else {
                self.0.counts.misses.add(1);
                return Ok(None);
            };
            // Gone only if it was evicted this moment, or somebody removed the file by hand: then it is searched again.
            if self.open_entry(&entry).await?.is_some() {
                self.0.counts.hits.add(1);
                return Ok(Some(entry));
            }
        }
    }

    /// What a job may read whose key begins so.
    pub(crate) fn list(&self, grant: &Grant, prefix: &str, most: usize) -> Vec<Entry> {
        let state = self.state();
        let all = state.index.all().filter(|entry| {
            entry.place.repository == grant.repository
                && grant.reads.contains(&entry.place.scope)
                && entry.place.key.as_str().starts_with(prefix)
        });
        all.take(most).cloned().collect()
    }

    /// The content of an entry that this job may read.
    pub(crate) async fn open_content(&self, grant: &Grant, id: u64) -> Result<(File, Entry), CacheError> {
        let entry = self.state().readable(grant, id)?;
        let file = self.open_entry(&entry).await?;
        Ok((file.ok_or(CacheError::NotFound("cache entry"))?, entry))
    }

    async fn open_entry(&self, entry: &Entry) -> Result<Option<File>, CacheError> {
        let (cache, entry) = (self.clone(), entry.clone());
        blocking(move || {
            let path = cache.0.disk.entry(&entry.place.repository, entry.id);
            match File::open(&path) {
                Ok(file) => {
                    let now = cache.now();
                    cache.state().index.touch(entry.id, now);
                    Disk::touch(&file, cache.0.clock.day());
                    Ok(Some(file))
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    cache.state().index.remove(entry.id);
                    Ok(None)
                }
                Err(error) => Err(CacheError::io("read", &path)(error)),
            }
        })
        .await
    }

    // What is saved.

    /// Begins an upload where the job may save. Gives its number, which the entry will have, too.
    pub(crate) async fn create(
        &self,
        session: &Session,
        (version, key): (Version, Key),
        parts: Parts,
    ) -> Result<u64, CacheError> {
        let place = Self::writable(&session.grant, version, key)?;
        let (cache, machine) = (self.clone(), session.machine.clone());
        blocking(move || {
            let most = cache.0.limits.uploads;
            let id = cache.fresh_id();
            let path = cache.0.disk.upload(id);
            // Asked before there is a file for each refusal, and again when it counts.
            cache.state().may_begin(&machine, &place, most)?;
            let file = Disk::create(&path)?;
            let upload = Upload::new(id, machine, place, (path, file), parts, cache.now());
            let upload = Arc::new(upload);
            let mut state = cache.state();
            match state.may_begin(&upload.machine, &upload.place, most) {
                Ok(earlier) => {
                    state.begin(upload);
                    drop(state);
                    if let Some(earlier) = earlier {
                        cache.discard(&earlier);
                    }
                    Ok(id)
                }
                Err(error) => {
                    drop(state);
                    cache.0.disk.remove_upload(id);
                    Err(error)
                }
            }
        })
        .await
    }

    /// The place where a job saves under this name.
    pub(crate) fn writable(grant: &Grant, version: Version, key: Key) -> Result<Place, CacheError> {
        let scope = grant.writes.clone().ok_or(CacheError::WriteDenied)?;
        Ok(Place { repository: grant.repository.clone(), scope, version, key })
    }

    pub(crate) fn upload(&self, machine: &MachineId, id: u64) -> Result<Arc<Upload>, CacheError> {
        self.state().upload(machine, id)
    }

    pub(crate) fn upload_at(&self, machine: &MachineId, place: &Place) -> Result<Arc<Upload>, CacheError> {
        self.state().upload_at(machine, place)
    }

    /// A part of an upload to write to, with room for it on the disk.
    pub(crate) async fn claim(
        &self,
        upload: &Arc<Upload>,
        allocate: impl FnOnce(&mut Parts) -> Result<Extent, CacheError>,
    ) -> Result<Arc<Claim>, CacheError> {
        let claim = upload.claim(allocate)?;
        let (cache, repository, len) = (self.clone(), upload.place.repository.clone(), claim.extent().len);
        blocking(move || cache.make_room(Some(&repository), len)).await?;
        Ok(claim)
    }

    /// An entry of this size at a place, if it is there: a client that got no answer asks again.
    pub(crate) fn saved(&self, id: Option<u64>, place: Option<&Place>, size: u64) -> Option<u64> {
        let state = self.state();
        let same = |entry: &&Entry| {
            entry.size == size
                && id.is_none_or(|id| entry.id == id)
                && place.is_none_or(|place| entry.place == *place)
        };
        state.index.all().find(same).map(|entry| entry.id)
    }

    /// Makes an upload of `size` bytes an entry. It is on the disk when this returns.
    pub(crate) async fn finish(&self, upload: Arc<Upload>, size: u64) -> Result<u64, CacheError> {
        // Asked first, so that a client that counted wrong may go on.
        upload.size(size)?;
        upload.close().await?;
        let cache = self.clone();
        blocking(move || {
            let sealed = upload.size(size).and_then(|()| cache.seal(&upload, size));
            // What the file has become stays; else it goes.
            cache.state().forget(&upload);
            if sealed.is_err() {
                cache.0.disk.remove_upload(upload.id);
                cache.0.disk.remove_entry(&upload.place.repository, upload.id);
            }
            sealed
        })
        .await
    }

    fn seal(&self, upload: &Upload, size: u64) -> Result<u64, CacheError> {
        let Inner { disk, limits, clock, counts, .. } = &*self.0;
        let (id, repository) = (upload.id, &upload.place.repository);
        let ordered = match upload.unordered() {
            Some(pieces) => {
                self.make_room(Some(repository), size)?;
                let aside = upload.path.with_extension("ordered");
                let file = Disk::create(&aside)?;
                Some(upload.reorder(&pieces, (&aside, file))?)
            }
            None => None,
        };
        let serial = self.state().index.next_serial();
        let label = Label::new(upload.place.clone(), size, serial, clock.day());
        upload.seal(&label, ordered.as_ref())?;
        while let Some(entry) = self.evict(|state| state.index.above(repository, size, limits.repository)) {
            disk.remove_entry(&entry.place.repository, entry.id);
        }
        disk.publish(&upload.path, repository, id)?;
        let place = label.place.clone();
        let entry = Entry { id, place, size, serial, created: label.created(), used: self.now() };
        let mut state = self.state();
        state.forget(upload);
        if !state.index.add(entry) {
            return Err(CacheError::Exists);
        }
        drop(state);
        counts.saved.add(1);
        Ok(id)
    }

    /// A number that nothing has.
    fn fresh_id(&self) -> u64 {
        loop {
            let id = rand::random::<u64>() & SAFE;
            if id != 0 && !self.state().has_id(id) {
                return id;
            }
        }
    }

    // What goes.

    fn discard(&self, upload: &Arc<Upload>) {
        if upload.end() {
            self.state().forget(upload);
            self.0.disk.remove_upload(upload.id);
        }
    }

    /// Takes an entry out of the index; its file is the caller's to remove.
    fn evict(&self, which: impl FnOnce(&State) -> Option<u64>) -> Option<Entry> {
        let mut state = self.state();
        let id = which(&state)?;
        let entry = state.index.remove(id);
        self.0.counts.evicted.add(1);
        entry
    }

    /// Removes the entries used least lately, until the limits are kept and so many bytes of a repository's uploads,
    /// which are counted already, fit on the disk.
    fn make_room(&self, repository: Option<&Repository>, wanted: u64) -> Result<(), CacheError> {
        let Inner { disk, limits, .. } = &*self.0;
        loop {
            let free = disk.free()?;
            let crowded = {
                let state = self.state();
                let (all, own) = state.pending(repository.unwrap_or(&Repository(String::new())));
                if own > limits.repository || all > limits.total {
                    return Err(CacheError::NoRoom { wanted });
                }
                state.index.bytes().saturating_add(all) > limits.total
            };
            if !crowded && free >= limits.free.saturating_add(wanted) {
                return Ok(());
            }
            let evicted =
                self.evict(|state| state.index.oldest(None)).ok_or(CacheError::NoRoom { wanted })?;
            disk.remove_entry(&evicted.place.repository, evicted.id);
        }
    }
}

/// Does what waits for a disk, away from what must not wait.
async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, CacheError> + Send + 'static,
) -> Result<T, CacheError> {
    tokio::task::spawn_blocking(act).await.unwrap_or_else(|error| {
        Err(CacheError::Io { what: "use", path: PathBuf::new(), source: io::Error::other(error) })
    })
}
