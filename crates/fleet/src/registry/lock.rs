//! Locks between processes: a file that is locked, with its holder's number in it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fireactions_model::ExponentialBackoff;
use rustix::fs::{FlockOperation, flock};

/// Why a lock could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{} is held by {holder}", .path.display())]
    Held {
        /// The lock.
        path: PathBuf,
        /// Who has it.
        holder: String,
    },
    /// The file cannot be made.
    #[error("the lock {} cannot be taken: {source}", .path.display())]
    Io {
        /// The lock.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl LockError {
    /// What to do about it.
    pub fn advice(&self) -> String {
        match self {
            Self::Held { .. } => "wait until it has ended, and try again".to_owned(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "run this in the directory of your flake, or name that directory with --flake".to_owned()
            }
            Self::Io { .. } => "see that the directory can be written".to_owned(),
        }
    }
}

/// A lock that is held. Its end is the process's end, or this value's, which removes the file too.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    /// Closing it gives the lock up.
    _file: File,
}

impl Lock {
    pub(super) fn take(path: &Path, patience: Duration) -> Result<Self, LockError> {
        let io = |source| LockError::Io { path: path.to_owned(), source };
        let deadline = Instant::now() + patience;
        let mut backoff = ExponentialBackoff::new(Duration::from_millis(2), Duration::from_millis(100));
        loop {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
                .map_err(io)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_at(&file, path) => {
                    file.set_len(0).map_err(io)?;
                    writeln!(file, "{}", std::process::id()).map_err(io)?;
                    return Ok(Self { path: path.to_owned(), _file: file });
                }
                // The holder removed it in the meantime.
                Ok(()) => continue,
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(error) => return Err(io(error.into())),
            }
            if Instant::now() >= deadline {
                let mut holder = String::new();
                let _ = file.take(32).read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => "another process".to_owned(),
                    pid => format!("process {pid}"),
                };
                return Err(LockError::Held { path: path.to_owned(), holder });
            }
            std::thread::sleep(backoff.failed(rand::random()));
        }
    }
}

/// Whether this is the file that others will find there.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Tidiness alone: a file that stays is locked by nobody.
        let _ = std::fs::remove_file(&self.path);
    }
}
