//! Up to which end the jobs' traces were told, kept for the next server. Losing it costs a trace or two.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Kept {
    told_until: Timestamp,
}

/// The file, and what is in it.
#[derive(Debug)]
pub(crate) struct Mark {
    file: PathBuf,
    at: Option<Timestamp>,
    written: Option<Timestamp>,
}

impl Mark {
    /// Reads it. A damaged one is as good as none.
    pub(crate) fn read(file: PathBuf) -> Self {
        let kept = std::fs::read(&file).ok().and_then(|text| serde_json::from_slice::<Kept>(&text).ok());
        let at = kept.map(|kept| kept.told_until);
        Self { file, at, written: at }
    }

    /// All jobs that ended until then were told.
    pub(crate) const fn at(&self) -> Option<Timestamp> {
        self.at
    }

    /// A job that ended then was told.
    pub(crate) fn told(&mut self, ended: Timestamp) {
        self.at = self.at.max(Some(ended));
    }

    /// Writes it, if there is anything new in it.
    pub(crate) fn write(&mut self) {
        let Some(told_until) = self.at.filter(|_| self.at != self.written) else { return };
        match replace(&self.file, &Kept { told_until }) {
            Ok(()) => self.written = self.at,
            Err(error) => tracing::debug!(file = %self.file.display(), %error, "cannot be written"),
        }
    }
}

fn replace(file: &Path, kept: &Kept) -> std::io::Result<()> {
    let new = file.with_extension("new");
    let mut opened = std::fs::File::create(&new)?;
    opened.write_all(&serde_json::to_vec(kept)?)?;
    drop(opened);
    std::fs::rename(new, file)
}
