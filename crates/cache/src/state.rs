//! What changes while the cache runs, behind one lock. No file is touched while it is held.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use fireactions_model::MachineId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::index::{Entry, Index};
use crate::upload::Upload;
use crate::{CacheError, Grant, Place, Repository};

/// A job that may use the cache.
#[derive(Debug)]
struct Job {
    grant: Arc<Grant>,
    requests: Arc<Semaphore>,
}

/// A request of a job, while it lasts.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) machine: MachineId,
    pub(crate) grant: Arc<Grant>,
    /// Goes along with an answer that is sent in pieces.
    pub(crate) place: OwnedSemaphorePermit,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) index: Index,
    jobs: HashMap<MachineId, Job>,
    uploads: HashMap<u64, Arc<Upload>>,
    reserved: HashMap<Place, u64>,
}

impl State {
    pub(crate) fn admit(&mut self, machine: MachineId, grant: Grant, requests: usize) {
        let job = Job { grant: Arc::new(grant), requests: Arc::new(Semaphore::new(requests)) };
        self.jobs.insert(machine, job);
    }

    /// Takes a job's rights away. Gives the uploads that it leaves.
    pub(crate) fn end(&mut self, machine: &MachineId) -> Vec<Arc<Upload>> {
        self.jobs.remove(machine);
        let left = self.uploads.values().filter(|upload| upload.machine == *machine).cloned();
        left.collect()
    }

    /// Lets a request of this machine's job in, if it comes from where the job is.
    pub(crate) fn enter(&self, machine: MachineId, peer: Option<IpAddr>) -> Result<Session, CacheError> {
        let job = self.jobs.get(&machine).ok_or(CacheError::Unknown("its job has ended"))?;
        if job.grant.address.is_some() && job.grant.address != peer {
            return Err(CacheError::Unknown("its token belongs to another machine"));
        }
        let place = job.requests.clone().try_acquire_owned();
        let place = place.map_err(|_| CacheError::TooMany("too many requests".to_owned()))?;
        Ok(Session { machine, grant: job.grant.clone(), place })
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
            return Err(CacheError::Unknown("its job has ended"));
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

    /// Bytes of all open uploads, and of those of one repository.
    pub(crate) fn pending(&self, repository: &Repository) -> (u64, u64) {
        self.uploads.values().fold((0, 0), |(all, own), upload| {
            let bytes = upload.parts().end();
            (all + bytes, if upload.place.repository == *repository { own + bytes } else { own })
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
