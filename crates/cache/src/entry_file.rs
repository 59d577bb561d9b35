//! An entry's file: its content, then what it is, then eight bytes that only a finished file ends with. So a file is an
//! entry or it is not; there is nothing beside it that could be missing, or belong to another one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::Place;

const MAGIC: &[u8; 8] = b"FACACHE1";
/// The length of what it is, and the magic.
const TAIL: usize = 4 + 8;
/// More than any place takes.
const LONGEST: u64 = 64 << 10;

/// What a finished file says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Label {
    pub(crate) place: Place,
    /// Of the content, in bytes.
    pub(crate) size: u64,
    pub(crate) serial: u64,
    /// Milliseconds of the time of day.
    created: u64,
}

impl Label {
    pub(crate) fn new(place: Place, size: u64, serial: u64, created: SystemTime) -> Self {
        let since = created.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { place, size, serial, created: u64::try_from(since.as_millis()).unwrap_or(0) }
    }

    /// Milliseconds of the time of day.
    pub(crate) fn created_millis(&self) -> u64 {
        self.created
    }

    pub(crate) fn created(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_millis(self.created))
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Finishes a file whose content is there: cuts off what is behind it and says what it is. It is on the disk when
    /// this returns.
    pub(crate) fn write(&self, file: &File) -> io::Result<()> {
        let mut end = serde_json::to_vec(self)?;
        let length = u32::try_from(end.len()).map_err(io::Error::other)?;
        end.extend_from_slice(&length.to_le_bytes());
        end.extend_from_slice(MAGIC);
        file.set_len(self.size)?;
        file.write_all_at(&end, self.size)?;
        file.sync_all()
    }

    /// What a file says about itself; nothing, if it is not finished or not ours.
    pub(crate) fn read(file: &File) -> io::Result<Option<Self>> {
        Self::find(file.metadata()?.len(), |to, at| file.read_exact_at(to, at))
    }

    /// The same of something of this length whose parts `read` gives.
    pub(crate) fn find(
        length: u64,
        read: impl Fn(&mut [u8], u64) -> io::Result<()>,
    ) -> io::Result<Option<Self>> {
        let Some(at) = length.checked_sub(TAIL as u64) else { return Ok(None) };
        let mut tail = [0; TAIL];
        read(&mut tail, at)?;
        let [a, b, c, d, magic @ ..] = tail;
        let label = u64::from(u32::from_le_bytes([a, b, c, d]));
        if magic != *MAGIC || label > LONGEST || label > at {
            return Ok(None);
        }
        let mut text = vec![0; usize::try_from(label).map_err(io::Error::other)?];
        read(&mut text, at - label)?;
        let label: Option<Self> = serde_json::from_slice(&text).ok();
        Ok(label.filter(|label| label.size == at - text.len() as u64))
    }
}
