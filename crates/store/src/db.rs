//! Two threads with a connection each: one writes, one reads. Calls reach them through bounded queues.
//!
//! Calls that wait while a commit is synced to disk share the next commit: each runs in its own savepoint, so
//! that one's failure undoes only itself, and all are answered after the one sync.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use fireactions_model::JobRecord;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{mpsc, oneshot};

use crate::dir::{self, Lock};
use crate::error::CommitFailure;
use crate::sqlite::{configure, set_checkpoint};
use crate::{StoreError, files, schema};

/// Calls waiting for a thread; more wait in the callers.
const QUEUE: usize = 256;
/// Calls sharing one commit.
const BATCH: usize = 64;

/// A job row that a commit has changed.
#[derive(Debug, Clone)]
pub struct JobChange {
    /// Place in the order of submission.
    pub seq: u64,
    /// As it stands after the commit.
    pub job: JobRecord,
}

/// Hears of every committed job change, in commit order, on the writer's thread: it must not block.
pub type JobObserver = Arc<dyn Fn(&JobChange) + Send + Sync>;

/// What a commit survives when its caller gets the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outlives {
    /// The server's death: the write-ahead log is written, not synced. Right for what a power loss ends anyway.
    Crash,
    /// Power loss: the write-ahead log is synced, with every commit before this one.
    PowerLoss,
}

impl Outlives {
    const fn synchronous(self) -> &'static str {
        match self {
            Self::Crash => "normal",
            Self::PowerLoss => "full",
        }
    }
}

/// What a writing call works with.
pub(crate) struct Tx<'a> {
    pub(crate) db: &'a Connection,
    pub(crate) changes: &'a mut Vec<JobChange>,
    pub(crate) observer: &'a Mutex<Option<JobObserver>>,
}

trait Call: Send {
    fn outlives(&self) -> Outlives;
    fn run(&mut self, tx: Tx<'_>);
    fn succeeded(&self) -> bool;
    fn reply(self: Box<Self>, commit: Option<&CommitFailure>);
}

struct Pending<F, T> {
    outlives: Outlives,
    work: Option<F>,
    answer: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Call for Pending<F, T>
where
    F: FnOnce(Tx<'_>) -> Result<T, StoreError> + Send,
    T: Send,
{
    fn outlives(&self) -> Outlives {
        self.outlives
    }

    fn run(&mut self, tx: Tx<'_>) {
        if let Some(work) = self.work.take() {
            self.answer = Some(work(tx));
        }
    }

    fn succeeded(&self) -> bool {
        matches!(self.answer, Some(Ok(_)))
    }

    fn reply(self: Box<Self>, commit: Option<&CommitFailure>) {
        let answer = match (self.answer, commit) {
            (Some(Ok(_)) | None, Some(failure)) => Err(failure.clone().into()),
            (Some(answer), _) => answer,
            (None, None) => Err(StoreError::Closed),
        };
        // A caller that went away does not need its answer.
        let _ = self.reply.send(answer);
    }
}

enum Message {
    Call(Box<dyn Call>),
    Stop,
}

/// A queue to one of the two threads.
#[derive(Clone)]
pub(crate) struct Thread {
    queue: mpsc::Sender<Message>,
}

impl Thread {
    pub(crate) async fn call<T, F>(&self, outlives: Outlives, work: F) -> Result<T, StoreError>
    where
        F: FnOnce(Tx<'_>) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let pending = Pending { outlives, work: Some(work), answer: None, reply };
        self.queue.send(Message::Call(Box::new(pending))).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    pub(crate) async fn stop(&self) {
        let _ = self.queue.send(Message::Stop).await;
        self.queue.closed().await;
    }
}

/// Brings the schema of the database up to date, which was checked and opened for writing, and starts the thread. `lock`
/// is held until the connection is closed.
pub(crate) fn writer(mut db: Connection, path: &Path, lock: Lock, jobs: &Path) -> Result<Thread, StoreError> {
    configure(&db)?;
    // FULL until a batch says otherwise: a commit is on the disk (fsync of the write-ahead log) before its caller
    // hears of it. What is deleted is overwritten: a page that is in no table any more holds no old row that a
    // rebuild could take for a living one.
    db.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))
        .and_then(|()| db.pragma_update(None, "synchronous", "full"))
        .and_then(|()| db.pragma_update(None, "foreign_keys", true))
        .and_then(|()| db.pragma_update_and_check(None, "secure_delete", true, |_| Ok(())))
        .map_err(StoreError::sql("be configured"))?;
    schema::migrate(&mut db, path)?;
    files::sweep(&db, jobs)?;
    // A commit that changes nothing makes the write-ahead log; only then is it missed when it is gone.
    db.pragma_update(None, "user_version", schema::known()).map_err(StoreError::sql("write its version"))?;
    path.parent().map_or(Ok(()), dir::sync_dir)?;
    lock.opened()?;
    // Not before: a start that fails after a crash would take the log away, and the next one would miss it.
    set_checkpoint(&db, true)?;
    spawn("store-writer", path, move |mut inbox| {
        let observer = Mutex::new(None);
        while let Some((batch, more)) = next_batch(&mut inbox, BATCH) {
            commit(&db, &observer, batch);
            if !more {
                break;
            }
        }
        if let Err(error) = lock.closing() {
            tracing::warn!(%error, "the next start will treat this server's end as a crash");
        }
        // Closed first, unlocked next, and only then told: whoever waited may open it again.
        drop(db);
        drop(lock);
        drop(inbox);
    })
}

/// Starts the reading thread. It sees every commit that was answered before it is asked.
pub(crate) fn reader(path: &Path) -> Result<Thread, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(StoreError::sql("open for reading"))?;
    configure(&db)?;
    db.pragma_update(None, "query_only", true).map_err(StoreError::sql("be configured"))?;
    spawn("store-reader", path, move |mut inbox| {
        let observer = Mutex::new(None);
        while let Some((batch, more)) = next_batch(&mut inbox, 1) {
            for mut call in batch {
                call.run(Tx { db: &db, changes: &mut Vec::new(), observer: &observer });
                call.reply(None);
            }
            if !more {
                break;
            }
        }
        drop(db);
        drop(inbox);
    })
}

fn spawn(
    name: &str,
    path: &Path,
    body: impl FnOnce(mpsc::Receiver<Message>) + Send + 'static,
) -> Result<Thread, StoreError> {
    let (queue, inbox) = mpsc::channel(QUEUE);
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || body(inbox))
        .map_err(StoreError::io("start a thread for", path))?;
    Ok(Thread { queue })
}

/// The calls that wait now, at least one; `false` when these are the last. None when nobody can call any more.
fn next_batch(inbox: &mut mpsc::Receiver<Message>, most: usize) -> Option<(Vec<Box<dyn Call>>, bool)> {
    let Message::Call(first) = inbox.blocking_recv()? else { return None };
    let mut batch = vec![first];
    while batch.len() < most {
        match inbox.try_recv() {
            Ok(Message::Call(call)) => batch.push(call),
            Ok(Message::Stop) => return Some((batch, false)),
            Err(_) => break,
        }
    }
    Some((batch, true))
}

fn commit(db: &Connection, observer: &Mutex<Option<JobObserver>>, mut batch: Vec<Box<dyn Call>>) {
    let mut changes = Vec::new();
    let result = run_all(db, observer, &mut batch, &mut changes);
    if let Err(error) = &result {
        tracing::error!(%error, calls = batch.len(), "the state database could not commit");
        if !db.is_autocommit()
            && let Err(error) = db.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "the state database could not roll back");
        }
    } else {
        let observer = observer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(observer) = observer {
            for change in &changes {
                observer(change);
            }
        }
    }
    let failure = result.err().map(|error| CommitFailure::new(&error));
    for call in batch {
        call.reply(failure.as_ref());
    }
}

fn run_all(
    db: &Connection,
    observer: &Mutex<Option<JobObserver>>,
    batch: &mut [Box<dyn Call>],
    changes: &mut Vec<JobChange>,
) -> rusqlite::Result<()> {
    // Cannot be changed inside a transaction. The calls that need more decide for the batch.
    let outlives = batch.iter().map(|call| call.outlives()).max().unwrap_or(Outlives::PowerLoss);
    db.pragma_update(None, "synchronous", outlives.synchronous())?;
    db.execute_batch("BEGIN IMMEDIATE")?;
    for call in batch {
        let before = changes.len();
        db.execute_batch("SAVEPOINT call")?;
        call.run(Tx { db, changes, observer });
        if call.succeeded() {
            db.execute_batch("RELEASE call")?;
        } else {
            // After some failures (disk full) SQLite has undone the whole transaction by itself; then this
            // fails, and so does every call of the batch.
            db.execute_batch("ROLLBACK TO call; RELEASE call")?;
            changes.truncate(before);
        }
    }
    fail::fail_point!("store::commit-refused", |_| {
        use rusqlite::{Error, ffi};
        Err(Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR), None))
    });
    db.execute_batch("COMMIT")?;
    #[cfg(test)]
    tests::LAST.set(Some(outlives));
    Ok(())
}

#[cfg(test)]
mod tests;
