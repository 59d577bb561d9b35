//! Volumes: disks that outlive their machines, so that a job finds what the last one of its repository left.
//!
//! ```text
//!  machine is made ──▶ take: a copy of the volume, the machine's own     (none yet: an empty disk)
//!  its job has ended ─▶ keep: the machine's disk is the volume now       (only where that job may, and succeeded)
//! ```
//!
//! ```text
//! ROOT/VOLUME/volume.json     what the volume is, and which file is its content: replaced by rename, and that is the moment
//! ROOT/VOLUME/ID.ext4         its content, never written to
//! ```
//!
//! `VOLUME` is a hash of owner and key, `ID` a random number: nothing of a name is in a path. What is in a content is a guest's work
//! and hostile: nothing here mounts it or reads it.
//!
//! Invariants:
//! - A volume is its old content or its new one, whatever kills the server in between; what no `volume.json` names is removed at
//!   the next start.
//! - Copies are their machines' own: nobody sees what another one writes.
//! - Whose a volume is, and who may write it, is its caller's word ([`Words`]). Losing a volume costs time, never a job.

mod age;
mod card;
mod error;
mod index;
mod limits;
mod room;
mod store;
mod words;

pub use card::{Name, Writer};
pub use error::VolumeError;
pub use index::Volume;
pub use limits::Limits;
pub use room::Cleaned;
pub use store::{Taken, Volumes};
pub use words::Words;
