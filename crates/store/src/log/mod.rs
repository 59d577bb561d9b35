//! A job's log: what its program wrote, with times, and what happened to it in between.
//!
//! Appending is one `write` to the page cache: it survives a killed server at once, a power loss only after
//! the kernel wrote it back, or after the `fsync` at the job's end (`Store::sync_job_files`).
//!
//! Output is told with its place in the output of its attempt, both streams together. What the log has already is
//! skipped, so that a piece told again, also by the next server, is in the log once; what never came is noted.
//! Output of one attempt is bounded; where it was cut, a note says so, and what comes later is dropped.

mod format;

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use fireactions_model::{JobId, Stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::files::blocking;
use crate::{Store, StoreError};
use format::{HEADER, Kind, LONGEST, Sum};

/// Headers and notes may take as much as the limit on output and this: a guest that writes single bytes must not
/// make a log many times its limit.
const FREE_OVERHEAD: u64 = 1 << 20;

/// Where a log record comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogSource {
    /// The program's standard output.
    Stdout,
    /// The program's standard error.
    Stderr,
    /// A line of the server's own about the job, without a line end.
    Note,
}

/// One record of a job's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Its place; reading from `next` goes on after it.
    pub offset: u64,
    /// Offset of the record after it.
    pub next: u64,
    /// When the server had it.
    pub at: Timestamp,
    /// Where it comes from.
    pub source: LogSource,
    /// Bytes as the program wrote them, at most 64 KiB, cut anywhere.
    pub data: Vec<u8>,
}

/// How much output of the current attempt the log has, to go on exactly there after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogTotals {
    /// Which attempt at the job, from 1.
    pub attempt: u32,
    /// Bytes of standard output.
    pub stdout: u64,
    /// Bytes of standard error.
    pub stderr: u64,
    /// Bytes, of either, that never came.
    pub missing: u64,
    /// The limit was reached: output is dropped, and the totals stand still.
    pub cut: bool,
}

impl LogTotals {
    const NONE: Self = Self { attempt: 1, stdout: 0, stderr: 0, missing: 0, cut: false };

    /// Bytes that the log holds.
    fn kept(&self) -> u64 {
        self.stdout + self.stderr
    }

    /// The place in the attempt's output that comes next.
    fn position(&self) -> u64 {
        self.kept().saturating_add(self.missing)
    }
}

/// One job's log. All holders of a job's log share it, which is how followers hear of appended records.
#[derive(Debug)]
pub struct JobLog {
    path: PathBuf,
    limit: u64,
    end: Mutex<Option<End>>,
    changed: watch::Sender<u64>,
}

/// The appending end.
#[derive(Debug)]
struct End {
    file: File,
    sum: Sum,
}

impl JobLog {
    /// Appends a piece of output before which `offset` bytes came in this attempt, both streams together. Of what
    /// the log has, nothing is appended again; before a piece that comes too early, a note says how much is missing.
    /// Not synced; see the module.
    pub async fn append_at(
        self: &Arc<Self>,
        offset: u64,
        stream: Stream,
        data: Vec<u8>,
    ) -> Result<(), StoreError> {
        let kind = match stream {
            Stream::Stdout => Kind::Stdout,
            Stream::Stderr => Kind::Stderr,
        };
        self.on_end(move |log, end| {
            let totals = end.sum.totals;
            if totals.cut {
                return Ok(());
            }
            let known = usize::try_from(totals.position().saturating_sub(offset)).unwrap_or(usize::MAX);
            let Some(new) = data.get(known..).filter(|new| !new.is_empty()) else { return Ok(()) };
            let missing = offset.saturating_sub(totals.position());
            if missing > 0 {
                let note = format!(
                    "{missing} bytes of output are missing here: the log could not be written at that \
                     time, or lost its end"
                );
                end.push(&log.path, Kind::Missing, missing, note.as_bytes())?;
            }
            let room = usize::try_from(log.limit.saturating_sub(totals.kept())).unwrap_or(usize::MAX);
            let fitting = &new[..new.len().min(room)];
            for piece in fitting.chunks(LONGEST) {
                end.push(&log.path, kind, 0, piece)?;
            }
            if fitting.len() < new.len() {
                let note = format!("output cut here: a job's log holds {} bytes", log.limit);
                end.push(&log.path, Kind::Cut, 0, note.as_bytes())?;
            } else if end.overhead() > log.limit.saturating_add(FREE_OVERHEAD) {
                let note = "output cut here: it came in too many small pieces for a job's log";
                end.push(&log.path, Kind::Cut, 0, note.as_bytes())?;
            }
            Ok(())
        })
        .await
    }

    /// Appends a line of the server's own.
    pub async fn note(self: &Arc<Self>, text: &str) -> Result<(), StoreError> {
        let text = cut(text);
        self.on_end(move |log, end| end.push(&log.path, Kind::Note, 0, &text)).await
    }

    /// Appends the line that begins an attempt (from 2; the first begins with the log): its output is counted from
    /// its own start and has its own limit. Nothing happens when this attempt, or a later one, has begun already.
    pub async fn begin_attempt(self: &Arc<Self>, attempt: u32, text: &str) -> Result<(), StoreError> {
        let text = cut(text);
        self.on_end(move |log, end| {
            if end.sum.totals.attempt >= attempt {
                return Ok(());
            }
            end.push(&log.path, Kind::Begin, attempt.into(), &text)
        })
        .await
    }

    /// How much output of the current attempt it has.
    pub async fn totals(self: &Arc<Self>) -> Result<LogTotals, StoreError> {
        blocking(Arc::clone(self), |log| {
            let mut end = log.end.lock().unwrap_or_else(PoisonError::into_inner);
            match end.as_ref() {
                Some(end) => Ok(end.sum.totals),
                None if log.path.exists() => Ok(end.insert(End::open(&log.path)?).sum.totals),
                None => Ok(LogTotals::NONE),
            }
        })
        .await
    }

    /// Records from `offset` on (0, or a record's `next`): about 256 KiB at most, and where to go on. Nothing
    /// when there is nothing more yet.
    pub async fn read(self: &Arc<Self>, offset: u64) -> Result<(Vec<LogRecord>, u64), StoreError> {
        blocking(Arc::clone(self), move |log| format::read(&log.path, offset)).await
    }

    /// Hears of changes from now on.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Wakes followers, so that they look at the job again.
    pub fn wake(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    async fn on_end(
        self: &Arc<Self>,
        work: impl FnOnce(&Self, &mut End) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        blocking(Arc::clone(self), move |log| {
            {
                let mut guard = log.end.lock().unwrap_or_else(PoisonError::into_inner);
                let end = match guard.as_mut() {
                    Some(end) => end,
                    None => guard.insert(End::open(&log.path)?),
                };
                work(&log, end)?;
            }
            log.wake();
            Ok(())
        })
        .await
    }
}

impl End {
    fn open(path: &Path) -> Result<Self, StoreError> {
        let (file, sum) = format::open(path)?;
        Ok(Self { file, sum })
    }

    fn push(&mut self, path: &Path, kind: Kind, number: u64, data: &[u8]) -> Result<(), StoreError> {
        let record = format::encode(self.sum.length, kind, number, data);
        if let Err(error) = self.file.write_all(&record) {
            // Half a record (disk full) would end the log for readers: back to the last whole one.
            let _ = self.file.set_len(self.sum.length);
            return Err(StoreError::io("write", path)(error));
        }
        self.sum.count(kind, number, record.len() - HEADER);
        Ok(())
    }

    /// Bytes that the current attempt's records take besides the output that they hold.
    fn overhead(&self) -> u64 {
        (self.sum.length - self.sum.attempt_at).saturating_sub(self.sum.totals.kept())
    }
}

/// As much of a line as a record holds.
fn cut(text: &str) -> Vec<u8> {
    text.as_bytes()[..text.len().min(LONGEST / 2)].to_vec()
}

/// The logs in use: one `JobLog` per job, for as long as somebody holds it.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    open: Mutex<HashMap<JobId, Weak<JobLog>>>,
}

impl Store {
    /// A job's log; the same for all who hold it at a time.
    pub fn log(&self, job: &JobId) -> Arc<JobLog> {
        let mut open = self.logs().open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = open.get(job).and_then(Weak::upgrade) {
            return log;
        }
        open.retain(|_, log| log.strong_count() > 0);
        let log = Arc::new(JobLog {
            path: self.job_dir(job).join("log"),
            limit: self.max_log_bytes(),
            end: Mutex::new(None),
            changed: watch::Sender::new(0),
        });
        open.insert(job.clone(), Arc::downgrade(&log));
        log
    }

    /// Wakes the followers of a job's log, if there are any.
    pub fn wake_log(&self, job: &JobId) {
        let open = self.logs().open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = open.get(job).and_then(Weak::upgrade) {
            log.wake();
        }
    }

    /// Records of a job's log from `from` on, and where to go on.
    pub async fn read_log(&self, job: &JobId, from: u64) -> Result<(Vec<LogRecord>, u64), StoreError> {
        self.log(job).read(from).await
    }
}
