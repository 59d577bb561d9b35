//! What goes: to make room, or because nobody uses it.

use std::io;
use std::time::Duration;

use crate::index::Index;
use crate::store::Volumes;
use crate::{VolumeError, age};

/// What a cleaning removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Volumes.
    pub volumes: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that are left.
    pub left: u64,
}

impl Volumes {
    /// Removes what is too old, and what is above the limits. It blocks.
    pub fn sweep(&self) {
        self.clean(None, None);
    }

    /// Removes what the limits demand, and then, those used least lately first, what no machine was given for so long and what is
    /// above so many bytes. It blocks.
    pub fn clean(&self, most: Option<u64>, unused_for: Option<Duration>) -> Cleaned {
        let limits = self.limits();
        let unused_for = unused_for.map_or(limits.idle, |time| time.min(limits.idle));
        let most = most.map_or(limits.total, |most| most.min(limits.total));
        // Not below 0, and what is used in this moment is not old.
        let since = age::now().checked_sub(unused_for);
        let mut index = self.index();
        let mut cleaned = Cleaned::default();
        loop {
            let goes = since.and_then(|since| index.unused_since(since)).or_else(|| {
                let above = index.bytes() > most || self.free().is_ok_and(|free| free < limits.free);
                index.oldest(None).filter(|_| above)
            });
            let Some(directory) = goes else { break };
            if let Some(bytes) = self.remove(&mut index, &directory) {
                cleaned.volumes += 1;
                cleaned.bytes += bytes;
            }
        }
        Cleaned { left: index.bytes(), ..cleaned }
    }

    /// Removes others until `bytes` more fit beside what is there, but for the volume in `directory`, of which there will be a new
    /// content. What is to be kept is on the disk already.
    pub(crate) fn make_room(
        &self,
        index: &mut Index,
        directory: &str,
        bytes: u64,
    ) -> Result<(), VolumeError> {
        let limits = self.limits();
        if bytes > limits.total {
            return Err(VolumeError::NoRoom { bytes });
        }
        loop {
            let own = index.0.get(directory).map_or(0, |entry| entry.bytes);
            let others = index.bytes().saturating_sub(own);
            let free = self.free()?;
            // The old content goes with the new one's coming.
            if others.saturating_add(bytes) <= limits.total && free.saturating_add(own) >= limits.free {
                return Ok(());
            }
            let oldest = index.oldest(Some(directory)).ok_or(VolumeError::NoRoom { bytes })?;
            self.remove(index, &oldest);
        }
    }

    pub(crate) fn free(&self) -> Result<u64, VolumeError> {
        let free = rustix::fs::statvfs(self.root()).map_err(io::Error::from);
        let free = free.map_err(VolumeError::io("look at the file system of", self.root()))?;
        Ok(free.f_bavail.saturating_mul(free.f_frsize))
    }
}
