//! Disks that outlive their machine: a copy of each volume when it is made, and the volume's new content when its job is over, if
//! that may be.
//!
//! ```text
//!  made: a copy each, or an empty disk ─▶ identity: mounted ─▶ job ─▶ it succeeded, and its forge has said that it may write
//!                                                                      │yes                          │no
//!   guest writes back, and nobody writes any more ◀── teardown ────────┘                             ▼
//!   VMM dead ─▶ volumes::keep                                                                 gone with the machine
//! ```
//!
//! Nothing of it is durable but what `volumes` keeps: whatever cuts this off leaves the volumes as they were.

use std::path::PathBuf;
use std::time::Duration;

use fireactions_guest_proto::Unusable;
use fireactions_image::scratch::{self, Size};
use fireactions_model::{FailureKind, JobId, Outcome, PoolSpec, StickyDir};
use fireactions_volumes::{Name, Taken, Volumes, Writer};
use tokio::time::timeout;

use crate::end::End;
use crate::life::Life;
use crate::parts::Parts;
use crate::resources::{HOST_DEADLINE, Resources};
use crate::sticky_disks::file;

/// A guest writes back what a job has written last within this, or it is lost: its disk is slower than any build.
const RELEASE_DEADLINE: Duration = Duration::from_secs(60);

/// Where the file system shares no blocks, a copy is made at this rate at least, in MiB a second.
const SLOWEST_COPY: u32 = 32;

fn name(owner: &str, key: &str) -> Name {
    Name { owner: owner.to_owned(), key: key.to_owned() }
}

impl Resources {
    /// Makes the disks, in place of what a guest may have touched: copies of the volumes where there are such, else empty ones. With
    /// `nobodys`, for a machine that is frozen, all are empty. Gives what was copied.
    pub(crate) async fn make_sticky(
        &self,
        parts: &Parts,
        pool: &PoolSpec,
        nobodys: bool,
    ) -> Result<Vec<Option<Taken>>, End> {
        let mut all = Vec::new();
        let owner = pool.sticky_owner().filter(|_| !nobodys);
        for (number, dir) in pool.sticky.iter().enumerate() {
            let dest = file(&self.directory, number);
            let limit = HOST_DEADLINE + Duration::from_secs(u64::from(dir.size_mib / SLOWEST_COPY));
            let taken = match (&parts.volumes, &owner) {
                (Some(volumes), Some(owner)) => {
                    let name = name(owner, &dir.key);
                    let taken = take(volumes.clone(), name, dir.size_mib, dest.clone(), self.owner());
                    timeout(limit, taken).await.map_err(|_| {
                        let why = format!(
                            "the copy of a sticky directory's disk took over {limit:?}; the host's disk hangs"
                        );
                        End::because(FailureKind::Host, why)
                    })?
                }
                _ => Ok(None),
            };
            let taken = taken.unwrap_or_else(|error| {
                tracing::warn!(pool = %pool.name, key = dir.key, "a sticky directory begins anew: {error}");
                None
            });
            if taken.is_none() {
                let size = Size { mib: dir.size_mib, bytes_per_inode: pool.hardware.bytes_per_inode };
                scratch::create(&parts.settings.scratch_dir, &dest, size, self.owner())
                    .await
                    .map_err(|e| End::failed(FailureKind::Host, "disk of a sticky directory", &e))?;
            }
            all.push(taken);
        }
        Ok(all)
    }
}

async fn take(
    volumes: Volumes,
    name: Name,
    mib: u32,
    dest: PathBuf,
    owner: (u32, u32),
) -> Result<Option<Taken>, String> {
    let taken = tokio::task::spawn_blocking(move || volumes.take(&name, mib, &dest, owner)).await;
    taken.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

impl Life {
    /// Throws away what a guest could not mount, so that no other machine gets it.
    pub(crate) async fn discard_unusable(&self, unusable: &[Unusable]) {
        let (Some(volumes), Some(owner)) = (&self.parts.volumes, self.pool.sticky_owner()) else { return };
        for Unusable { disk, why } in unusable {
            let number = usize::try_from(*disk).unwrap_or(usize::MAX);
            let Some(dir) = self.pool.sticky.get(number) else { continue };
            tracing::warn!(
                machine = %self.record.id(), pool = %self.pool.name, key = dir.key,
                "a sticky directory cannot be used; what was kept of it is thrown away: {why}"
            );
            let Some(taken) = self.made.taken.get(number).cloned().flatten() else { continue };
            let (volumes, name) = (volumes.clone(), name(&owner, &dir.key));
            let _ = tokio::task::spawn_blocking(move || volumes.discard(&name, &taken)).await;
        }
    }

    /// Looks whether what the job has written may be kept, for teardown: it succeeded, and it is of the built-in queue or its forge has
    /// said that it may. To be asked before the forge hears of the end, for its word goes with that.
    pub(crate) fn decide_on_sticky(&mut self, job: &JobId, outcome: &Outcome) {
        let Some(volumes) = self.parts.volumes.as_ref().filter(|_| !self.pool.sticky.is_empty()) else {
            return;
        };
        if *outcome != (Outcome::Exited { code: 0 }) {
            return;
        }
        self.made.writer = match &self.pool.forge {
            None => Some(Writer { job: format!("job {job}"), owner: 0 }),
            Some(_) => volumes.words().writer(self.record.id()),
        };
        if self.made.writer.is_none() {
            tracing::debug!(machine = %self.record.id(), %job, "what the job has left is not kept: its forge has not said that it may be");
        }
    }

    /// Has the guest write its disks back, if they are to be kept. Gives by whom.
    pub(crate) async fn release_sticky(&mut self) -> Option<Writer> {
        let writer = self.made.writer.take()?;
        let link = self.made.link.as_ref()?;
        let why = match timeout(RELEASE_DEADLINE, link.release()).await {
            Ok(Ok(())) => return Some(writer),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it was not written back within {RELEASE_DEADLINE:?}"),
        };
        tracing::warn!(machine = %self.record.id(), pool = %self.pool.name, "sticky directories are not kept: {why}");
        None
    }

    /// Makes the disks the volumes' new contents. The VMM is dead.
    pub(crate) async fn keep_sticky(&self, writer: Writer) {
        let (Some(volumes), Some(owner)) = (&self.parts.volumes, self.pool.sticky_owner()) else { return };
        let directory = self.parts.settings.machine_dir(self.record.id());
        let (volumes, dirs) = (volumes.clone(), self.pool.sticky.clone());
        let kept = tokio::task::spawn_blocking(move || {
            let keep = |(number, dir): (usize, &StickyDir)| {
                let written = file(&directory, number);
                volumes.keep(&name(&owner, &dir.key), dir.size_mib, &written, writer.clone())
            };
            dirs.iter().enumerate().try_for_each(keep)
        });
        let why = match kept.await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(machine = %self.record.id(), pool = %self.pool.name, "a sticky directory is not kept: {why}");
    }
}
