//! Uploads to the bucket that have begun, as files of this host: the next server ends what one that was killed has left.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::CacheError;

/// More than any note takes, in bytes.
const LONGEST: u64 = 64 << 10;

/// An upload in parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begun {
    /// The object's name.
    pub(super) object: String,
    /// The bucket's word for the upload.
    pub(super) upload: String,
}

/// An upload that is to be ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) begun: Begun,
    /// The bucket was asked to, once, and did.
    pub(super) was_aborted: bool,
}

#[derive(Debug)]
pub(super) struct Journal(PathBuf);

impl Journal {
    pub(super) fn open(dir: &Path) -> Result<Self, CacheError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(CacheError::io("make", dir))?;
        Ok(Self(dir.to_owned()))
    }

    fn note(&self, id: u64) -> PathBuf {
        self.0.join(format!("{id:016x}"))
    }

    /// Notes it. A host that loses its power may forget it: what then stays at the bucket is for its own rules.
    pub(super) fn begin(&self, id: u64, begun: &Begun) -> Result<(), CacheError> {
        let path = self.note(id);
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(&serde_json::to_vec(begun)?)
        };
        write().map_err(CacheError::io("write", &path))
    }

    /// It has ended.
    pub(super) fn end(&self, id: u64) {
        let _ = fs::remove_file(self.note(id));
    }

    /// What an earlier server has begun and not ended. It is asked before anything begins.
    pub(super) fn left(&self) -> Result<Vec<(u64, Left)>, CacheError> {
        let read = || {
            let mut left = Vec::new();
            for file in fs::read_dir(&self.0)? {
                let path = file?.path();
                let id = path.file_name().and_then(|name| u64::from_str_radix(name.to_str()?, 16).ok());
                let begun =
                    if fs::symlink_metadata(&path)?.len() > LONGEST { None } else { read_note(&path)? };
                match id.zip(begun) {
                    Some((id, begun)) => left.push((id, Left { begun, was_aborted: false })),
                    // Killed while it was written: then no part was sent.
                    None => fs::remove_file(&path)?,
                }
            }
            Ok(left)
        };
        read().map_err(CacheError::io("read", &self.0))
    }
}

fn read_note(path: &Path) -> io::Result<Option<Begun>> {
    Ok(serde_json::from_slice(&fs::read(path)?).ok())
}
