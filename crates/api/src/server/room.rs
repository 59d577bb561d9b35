//! How much callers may hold at once. Who finds no room is refused at once, in words, instead of waiting among others.

use std::sync::Arc;

use futures::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Limits;
use crate::Fault;
use crate::engine::Result;

/// What the spool's budget is counted in.
const UNIT: u64 = 1024;

/// The places of one server.
#[derive(Clone)]
pub(crate) struct Room {
    sessions: Arc<Semaphore>,
    followers: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
    /// Bytes of input files on their way in, in units.
    spool: Arc<Semaphore>,
}

/// A part of the spool, until the job has its files.
#[must_use]
pub(crate) struct Spooling {
    _upload: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl Room {
    pub(crate) fn new(limits: &Limits) -> Self {
        let places = |number| Arc::new(Semaphore::new(number));
        let units = usize::try_from(limits.spool.div_ceil(UNIT)).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            sessions: places(limits.sessions),
            followers: places(limits.followers),
            uploads: places(limits.uploads),
            spool: places(units.min(Semaphore::MAX_PERMITS)),
        }
    }

    /// For an `exec` session.
    pub(super) fn session(&self) -> Result<OwnedSemaphorePermit> {
        self.sessions
            .clone()
            .try_acquire_owned()
            .map_err(|_| Fault::unavailable("too many exec sessions are open").hint("end one and try again"))
    }

    /// `stream` with the place that it has while it lasts.
    pub(super) fn follow<S: Stream>(&self, stream: S) -> Result<impl Stream<Item = S::Item> + use<S>> {
        let place = self.followers.clone().try_acquire_owned().map_err(|_| {
            Fault::unavailable("too many logs, consoles and events are being followed")
                .hint("end a follower, or ask without `follow`, and try again")
        })?;
        Ok(stream.inspect(move |_| {
            let _held = &place;
        }))
    }

    /// For input files of so many bytes in all.
    pub(crate) fn spool(&self, bytes: u64) -> Result<Spooling> {
        let full = || {
            Fault::unavailable("other uploads take all the space that there is for uploads")
                .hint("try again in a moment; files that many jobs need belong in their image")
        };
        let upload = self.uploads.clone().try_acquire_owned().map_err(|_| full())?;
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let bytes = self.spool.clone().try_acquire_many_owned(units).map_err(|_| full())?;
        Ok(Spooling { _upload: upload, _bytes: bytes })
    }
}
