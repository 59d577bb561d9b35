//! The only writer of durable state: machines and their journal, pool overrides, the job queue, job files and
//! logs, all below one state directory that one server at a time may use.
//!
//! What is on the disk when (docs/recovery.md has the table for operators):
//! - every changing call on jobs, pools and the host returns after its commit was synced (SQLite in WAL mode,
//!   `synchronous=FULL`); calls that wait at the same time share one sync;
//! - a change of a machine's row or journal returns after its commit was written (`synchronous=NORMAL`): it
//!   outlives the server, however that ends. A power loss ends the machines too, and may cost the last such
//!   changes, never their order: what is then left of a machine is a directory, which is found by its name;
//! - a job's input files are synced before its row is;
//! - a job's log and artifacts are synced when it ends, not at each piece of output: a killed server loses
//!   nothing of them, a power loss may cost the tail of a job that it ended anyway.
//!
//! A damaged database is found when it is opened, before anything is changed; `rebuild` makes a new one of every row
//! that can still be read. `state.db` is plain SQLite; operators may read it with `sqlite3 -readonly`.

mod check;
mod counts;
mod db;
mod dir;
mod error;
mod files;
mod host;
mod jobs;
mod log;
mod machines;
mod pools;
mod rebuild;
mod row;
mod runners;
mod schema;
mod sqlite;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;

pub use check::{Checked, check};
pub use db::{JobChange, JobObserver};
pub use error::StoreError;
pub use files::Staging;
pub use jobs::{Bind, Finish, JobFilter, Standing};
pub use log::{JobLog, LogRecord, LogSource, LogTotals};
pub use machines::{JournalEntry, MachineChange, MachineRow, NewMachineRow};
pub use pools::PoolOverride;
pub use rebuild::{Rebuilt, rebuild};

use db::{Outlives, Thread, Tx};

/// What can be set about a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreOptions {
    /// Most bytes of output that the log of one attempt of a job holds.
    pub max_log_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { max_log_bytes: 64 << 20 }
    }
}

/// The store. Clones share it; when the last is dropped its threads end and the lock is given back soon after
/// (`close` waits for that).
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    dir: PathBuf,
    options: StoreOptions,
    writer: Thread,
    reader: Thread,
    logs: log::Logs,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("dir", &self.shared.dir).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store in `dir` with default options: checks the database (for some seconds at most), makes what is
    /// absent, migrates, sweeps what a crash left. Blocks; meant for the start of a program. `Locked` when another
    /// process has it; `Corrupt`, `Foreign`, `TooNew` when the database is not to be worked on, which is then as it was.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(dir, StoreOptions::default())
    }

    /// Opens the store with these options.
    pub fn open_with(dir: impl AsRef<Path>, options: StoreOptions) -> Result<Self, StoreError> {
        let dir = dir.as_ref().to_owned();
        dir::prepare(&dir)?;
        let lock = dir::lock(&dir)?;
        let jobs = dir.join("jobs");
        dir::private_dir(&jobs)?;
        let path = dir.join("state.db");
        let opened = check::open(&path, lock.unclean)?;
        let writer = db::writer(opened, &path, lock, &jobs)?;
        let reader = db::reader(&path)?;
        let shared = Shared { dir, options, writer, reader, logs: log::Logs::default() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Ends the store for all its clones: calls in the queue are finished, later ones get `Closed`. Returns when
    /// the directory can be opened again.
    pub async fn close(self) {
        self.shared.reader.stop().await;
        self.shared.writer.stop().await;
    }

    /// Whether both of the store's threads still answer: an empty call through each. Slow is not dead: the caller
    /// decides how long it waits.
    pub async fn alive(&self) -> Result<(), StoreError> {
        self.read(|_| Ok(())).await?;
        self.write_until_power_loss(|_| Ok(())).await
    }

    /// The state directory.
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    fn jobs_dir(&self) -> PathBuf {
        self.shared.dir.join("jobs")
    }

    fn logs(&self) -> &log::Logs {
        &self.shared.logs
    }

    fn max_log_bytes(&self) -> u64 {
        self.shared.options.max_log_bytes
    }

    async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        F: FnOnce(Tx<'_>) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        self.shared.writer.call(Outlives::PowerLoss, work).await
    }

    /// As `write`, for what is void after a power loss: machines die with the host.
    async fn write_until_power_loss<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        F: FnOnce(Tx<'_>) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        self.shared.writer.call(Outlives::Crash, work).await
    }

    async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        self.shared.reader.call(Outlives::Crash, |tx| work(tx.db)).await
    }
}
