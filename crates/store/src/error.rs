use std::io;
use std::path::{Path, PathBuf};

use fireactions_model::{JobId, MachineId};
use rusqlite::ErrorCode;

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another server uses the state directory.
    #[error("the state directory {dir} is in use by {holder}; stop that server or set another state_dir")]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// Its holder, as "process 123" or "another process".
        holder: String,
        /// The one who took it has ended. A child that it was just starting has the lock for a moment longer, until it
        /// becomes another program.
        ended: bool,
    },
    /// The database was written by a newer version.
    #[error(
        "{path} has schema version {found}, this program knows up to {known}; run the newer fireactions again"
    )]
    TooNew {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The file is a database of some other program.
    #[error(
        "{path} is not a fireactions database (application id {found:#x}); move it away or set another state_dir"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it says it is.
        found: i64,
    },
    /// The database is damaged. Nothing was changed.
    #[error(
        "the state database {path} is damaged: {why}. Nothing was changed. With FILE, the server's configuration: \
         'fireactions state check --config FILE' shows more, 'fireactions state rebuild --config FILE' sets the \
         damaged file aside and saves every row that can still be read"
    )]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file operation failed.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// Verb, e.g. "write".
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// SQLite refused.
    #[error("the state database failed to {what}: {source}{}", advice(source))]
    Sql {
        /// What was tried.
        what: &'static str,
        /// Why.
        source: rusqlite::Error,
    },
    /// Others in the same commit were hit by this failure, so this call was undone with them.
    #[error("the state database could not commit: {why}")]
    Commit {
        /// Why, with what to do.
        why: String,
        /// The disk is full.
        full: bool,
    },
    /// A row does not read as what it must be.
    #[error(
        "the state database holds a {what} that is not readable ({why}); it was edited by hand or is damaged"
    )]
    Damaged {
        /// Column.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// There is no such machine.
    #[error("there is no machine {0} in the state database")]
    NoMachine(MachineId),
    /// There is no such job.
    #[error("there is no job {0}")]
    NoJob(JobId),
    /// The job is not (or no longer) this machine's.
    #[error("job {job} is not bound to machine {machine}")]
    NotBound {
        /// Job.
        job: JobId,
        /// Machine.
        machine: MachineId,
    },
    /// The identifier is taken.
    #[error("{0} exists already")]
    Exists(String),
    /// The host has no free slot (address) for one more machine.
    #[error("all {0} machine slots of this host are taken")]
    NoSlot(u32),
    /// The queue is full.
    #[error("the job queue is full ({0} jobs wait); try again when some have run")]
    QueueFull(u32),
    /// An input file is longer or shorter than announced.
    #[error("input file {dest} has {actual} bytes, but {announced} were announced")]
    WrongSize {
        /// Guest path.
        dest: String,
        /// Bytes announced.
        announced: u64,
        /// Bytes received ("more than" is counted as announced + 1).
        actual: u64,
    },
    /// The store was closed.
    #[error("the state store is closed")]
    Closed,
}

fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

/// What to do about what SQLite found while it worked.
fn advice(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "; stop the server and run 'fireactions state check --config FILE'"
        }
        Some(ErrorCode::DiskFull) => "; make room on the disk of the state directory",
        _ => "",
    }
}

impl StoreError {
    /// True where the same call may work later: the disk was full, or somebody held a lock.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Sql { .. } | Self::Commit { .. })
    }

    /// True where room on the disk is what it lacks.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::Sql { source, .. } => is_full(source),
            Self::Commit { full, .. } => *full,
            _ => false,
        }
    }

    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }

    pub(crate) fn sql(what: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Sql { what, source }
    }
}

/// Why a commit failed, for each of its calls.
#[derive(Debug, Clone)]
pub(crate) struct CommitFailure {
    why: String,
    full: bool,
}

impl CommitFailure {
    pub(crate) fn new(error: &rusqlite::Error) -> Self {
        Self { why: format!("{error}{}", advice(error)), full: is_full(error) }
    }
}

impl From<CommitFailure> for StoreError {
    fn from(CommitFailure { why, full }: CommitFailure) -> Self {
        Self::Commit { why, full }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(source: rusqlite::Error) -> Self {
        Self::Sql { what: "run a statement", source }
    }
}
