//! What changes while the cache runs, behind one lock. No file is touched while it is held.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use std::time::Duration;

use fireactions_model::MachineId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use crate::index::{Entry, Index};
use crate::upload::Upload;
use crate::{CacheError, Grant, Place, Repository};

/// What a job may do, as far as that is known.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) grant: Arc<Grant>,
    /// It is what it is to be: nobody is expected to say more.
    pub(crate) settled: bool,
}

/// A job that may use the cache.
#[derive(Debug)]
struct Job {
    known: watch::Sender<Known>,
    /// Until when requests wait for the job to be settled: from the first one on.
    until: Option<Instant>,
    requests: Arc<Semaphore>,
    lists: Arc<Semaphore>,
}

/// A request of a job, while it lasts.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) machine: MachineId,
    pub(crate) grant: Arc<Grant>,
    /// Where it is told whose the job is, and until when that is waited for; nothing when it is known.
    pub(crate) waits: Option<(watch::Receiver<Known>, Instant)>,
    /// Goes along with an answer that is sent in pieces.
    pub(crate) place: OwnedSemaphorePermit,
    /// For whoever takes a list of blocks in: they are long, and one of a job is in memory at a time.
    pub(crate) lists: Arc<Semaphore>,
}

pub(crate) const ENDED: CacheError = CacheError::Unknown("its job has ended");

/// What open uploads take, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pending {
    pub(crate) all: u64,
    /// Of one repository alone.
    pub(crate) own: u64,
    /// Announced by all of them, and not on the disk yet.
    pub(crate) unwritten: u64,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) index: Index,
    jobs: HashMap<MachineId, Job>,
    uploads: HashMap<u64, Arc<Upload>>,
    reserved: HashMap<Place, u64>,
}

impl State {
    /// Lets a job in, or changes what it may do. What is settled is not unsettled.
    pub(crate) fn admit(&mut self, machine: MachineId, known: Known, requests: usize) {
        if self.jobs.contains_key(&machine) {
            return self.confirm(&machine, known);
        }
        let (known, requests) = (watch::Sender::new(known), Arc::new(Semaphore::new(requests)));
        let lists = Arc::new(Semaphore::new(1));
        self.jobs.insert(machine, Job { known, until: None, requests, lists });
    }

    /// Changes what a job may do that was let in.
    pub(crate) fn confirm(&mut self, machine: &MachineId, known: Known) {
        let Some(job) = self.jobs.get(machine) else { return };
        job.known.send_if_modified(|before| {
            let counts = known.settled || !before.settled;
            if counts {
                *before = known;
            }
            counts
        });
    }

    /// Whether it is expected to be told what a job may do.
    pub(crate) fn is_open(&self, machine: &MachineId) -> bool {
        self.jobs.get(machine).is_some_and(|job| !job.known.borrow().settled)
    }

    /// Whether a job is there for what one machine alone may see.
    pub(crate) fn has_job(&self, machine: &str) -> bool {
        MachineId::new(machine).is_ok_and(|machine| self.jobs.contains_key(&machine))
    }

    /// Takes a job's rights away. Gives the uploads that it leaves.
    pub(crate) fn end(&mut self, machine: &MachineId) -> Vec<Arc<Upload>> {
        self.jobs.remove(machine);
        let left = self.uploads.values().filter(|upload| upload.machine == *machine).cloned();
        left.collect()
    }

    /// Lets a request of this machine's job in, if it comes from where the job is.
    pub(crate) fn enter(
        &mut self,
        machine: MachineId,
        peer: Option<IpAddr>,
        patience: Duration,
    ) -> Result<Session, CacheError> {
        let job = self.jobs.get_mut(&machine).ok_or(ENDED)?;
        let Known { grant, settled } = job.known.borrow().clone();
        if grant.address.is_some() && grant.address != peer {
            return Err(CacheError::Unknown("its token belongs to another machine"));
        }
        let place = job.requests.clone().try_acquire_owned();
        let place = place.map_err(|_| CacheError::TooMany("too many requests".to_owned()))?;
        let waits = (!settled).then(|| {
            let until = *job.until.get_or_insert_with(|| Instant::now() + patience);
            (job.known.subscribe(), until)
        });
        Ok(Session { machine, grant, waits, place, lists: job.lists.clone() })
    }

    pub(crate) fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// Whether an upload for this place may begin. Gives the machine's own earlier one, which it takes the place of: a
    /// client asks again if it got no answer.
    pub(crate) fn may_begin(
        &self,
        machine: &MachineId,
        place: &Place,
        limit: usize,
    ) -> Result<Option<Arc<Upload>>, CacheError> {
        if !self.jobs.contains_key(machine) {
            return Err(ENDED);
        }
        if self.index.at(place).is_some() {
            return Err(CacheError::Exists);
        }
        let earlier = self.reserved.get(place).and_then(|id| self.uploads.get(id));
        if earlier.is_some_and(|upload| upload.machine != *machine || upload.is_sealing()) {
            return Err(CacheError::Reserved);
        }
        let open = self.uploads.values().filter(|upload| upload.machine == *machine).count();
        if earlier.is_none() && open >= limit {
            return Err(CacheError::TooMany(format!("{limit} uploads")));
        }
        Ok(earlier.cloned())
    }

    pub(crate) fn begin(&mut self, upload: Arc<Upload>) {
        self.reserved.insert(upload.place.clone(), upload.id);
        self.uploads.insert(upload.id, upload);
    }

    /// The upload is over, one way or the other.
    pub(crate) fn forget(&mut self, upload: &Upload) {
        self.uploads.remove(&upload.id);
        upload.done.cancel();
        if self.reserved.get(&upload.place) == Some(&upload.id) {
            self.reserved.remove(&upload.place);
        }
    }

    /// An open upload of this machine.
    pub(crate) fn upload(&self, machine: &MachineId, id: u64) -> Result<Arc<Upload>, CacheError> {
        let upload = self.uploads.get(&id).filter(|upload| upload.machine == *machine);
        upload.cloned().ok_or(CacheError::NotFound("open upload"))
    }

    /// The open upload of this machine for a place.
    pub(crate) fn upload_at(&self, machine: &MachineId, place: &Place) -> Result<Arc<Upload>, CacheError> {
        let id = self.reserved.get(place).copied().ok_or(CacheError::NotFound("open upload"))?;
        self.upload(machine, id)
    }

    pub(crate) fn uploads(&self) -> impl ExactSizeIterator<Item = &Arc<Upload>> {
        self.uploads.values()
    }

    pub(crate) fn has_id(&self, id: u64) -> bool {
        self.index.has_id(id) || self.uploads.contains_key(&id)
    }

    /// What open uploads take, and those of one repository.
    pub(crate) fn pending(&self, repository: Option<&Repository>) -> Pending {
        self.uploads.values().fold(Pending::default(), |mut sum, upload| {
            let held = upload.space().held();
            sum.all += held;
            sum.own += if Some(&upload.place.repository) == repository { held } else { 0 };
            sum.unwritten += upload.space().unwritten();
            sum
        })
    }

    /// An entry that this job may read.
    pub(crate) fn readable(&self, grant: &Grant, id: u64) -> Result<Entry, CacheError> {
        let entry = self.index.get(id).filter(|entry| {
            entry.place.repository == grant.repository && grant.reads.contains(&entry.place.scope)
        });
        entry.cloned().ok_or(CacheError::NotFound("cache entry"))
    }
}
