//! A job's log: what its program wrote, with times, and what happened to it in between.
//!
//! The file is a row of records. A record's header holds its own offset, so that the end of a write cut short
//! by a crash, and a reader's made-up offset, are both recognised:
//!
//! ```text
//! offset u64 | kind u8 | length u32 | time i64 (µs since 1970) | data          (little endian)
//! ```
//!
//! Appending is one `write` to the page cache: it survives a killed server at once, a power loss only after
//! the kernel wrote it back, or after the `fsync` at the job's end (`Store::sync_job_files`). Output of one
//! attempt is bounded; where it was cut, a note says so, and what comes later is dropped.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use fireactions_model::{JobId, Stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::files::blocking;
use crate::{Store, StoreError, dir};

const HEADER: usize = 21;
/// Longest data of one record; longer output is split.
const LONGEST: usize = 64 * 1024;
/// About this much data is returned by one read.
const READ: usize = 256 * 1024;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogTotals {
    /// Bytes of standard output.
    pub stdout: u64,
    /// Bytes of standard error.
    pub stderr: u64,
    /// The limit was reached: output is dropped, and the totals stand still.
    pub cut: bool,
}

impl LogTotals {
    fn sum(&self) -> u64 {
        self.stdout + self.stderr
    }

    fn count(&mut self, kind: Kind, length: usize) {
        match kind {
            Kind::Stdout => self.stdout += length as u64,
            Kind::Stderr => self.stderr += length as u64,
            Kind::Note => {}
            Kind::Cut => self.cut = true,
            Kind::Attempt => *self = Self::default(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stdout = 1,
    Stderr = 2,
    Note = 3,
    /// A note that output is dropped from here on.
    Cut = 4,
    /// A note that another attempt begins: counting starts anew.
    Attempt = 5,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Stdout, Self::Stderr, Self::Note, Self::Cut, Self::Attempt];

    const fn source(self) -> LogSource {
        match self {
            Self::Stdout => LogSource::Stdout,
            Self::Stderr => LogSource::Stderr,
            Self::Note | Self::Cut | Self::Attempt => LogSource::Note,
        }
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
    length: u64,
    totals: LogTotals,
}

impl JobLog {
    /// Appends output. Not synced; see the module.
    pub async fn append(self: &Arc<Self>, stream: Stream, data: Vec<u8>) -> Result<(), StoreError> {
        let kind = match stream {
            Stream::Stdout => Kind::Stdout,
            Stream::Stderr => Kind::Stderr,
        };
        self.on_end(move |log, end| {
            if end.totals.cut {
                return Ok(());
            }
            let room = usize::try_from(log.limit.saturating_sub(end.totals.sum())).unwrap_or(usize::MAX);
            let fitting = &data[..data.len().min(room)];
            for piece in fitting.chunks(LONGEST) {
                end.push(&log.path, kind, piece)?;
            }
            if fitting.len() < data.len() {
                let note = format!("output cut here: a job's log holds {} bytes", log.limit);
                end.push(&log.path, Kind::Cut, note.as_bytes())?;
            }
            Ok(())
        })
        .await
    }

    /// Appends a line of the server's own.
    pub async fn note(self: &Arc<Self>, text: &str) -> Result<(), StoreError> {
        self.line(Kind::Note, text).await
    }

    /// Appends a line that ends the output of one attempt; the next has its own limit.
    pub async fn end_attempt(self: &Arc<Self>, text: &str) -> Result<(), StoreError> {
        self.line(Kind::Attempt, text).await
    }

    async fn line(self: &Arc<Self>, kind: Kind, text: &str) -> Result<(), StoreError> {
        let text = text.as_bytes()[..text.len().min(LONGEST)].to_vec();
        self.on_end(move |log, end| end.push(&log.path, kind, &text)).await
    }

    /// How much output of the current attempt it has.
    pub async fn totals(self: &Arc<Self>) -> Result<LogTotals, StoreError> {
        blocking(Arc::clone(self), |log| {
            let mut end = log.end.lock().unwrap_or_else(PoisonError::into_inner);
            match end.as_ref() {
                Some(end) => Ok(end.totals),
                None if log.path.exists() => Ok(end.insert(open(&log.path)?).totals),
                None => Ok(LogTotals::default()),
            }
        })
        .await
    }

    /// Records from `offset` on (0, or a record's `next`): about 256 KiB at most, and where to go on. Nothing
    /// when there is nothing more yet.
    pub async fn read(self: &Arc<Self>, offset: u64) -> Result<(Vec<LogRecord>, u64), StoreError> {
        blocking(Arc::clone(self), move |log| read(&log.path, offset)).await
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
                    None => guard.insert(open(&log.path)?),
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
    fn push(&mut self, path: &Path, kind: Kind, data: &[u8]) -> Result<(), StoreError> {
        let mut record = Vec::with_capacity(HEADER + data.len());
        record.extend(self.length.to_le_bytes());
        record.push(kind as u8);
        // At most LONGEST.
        record.extend(u32::try_from(data.len()).unwrap_or(u32::MAX).to_le_bytes());
        record.extend(Timestamp::now().as_microsecond().to_le_bytes());
        record.extend(data);
        if let Err(error) = self.file.write_all(&record) {
            // Half a record (disk full) would end the log for readers: back to the last whole one.
            let _ = self.file.set_len(self.length);
            return Err(StoreError::io("write", path)(error));
        }
        self.length += record.len() as u64;
        self.totals.count(kind, data.len());
        Ok(())
    }
}

/// Opens a log for appending, cutting off half a record at its end.
fn open(path: &Path) -> Result<End, StoreError> {
    if let Some(parent) = path.parent() {
        dir::private_dir(parent)?;
    }
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(StoreError::io("open", path))?;
    let size = file.metadata().map_err(StoreError::io("look at", path))?.len();
    let mut totals = LogTotals::default();
    let mut length = 0;
    let mut reader = BufReader::new(&file);
    while let Some((kind, data, _)) =
        header(&mut reader, length, size).map_err(StoreError::io("read", path))?
    {
        totals.count(kind, data);
        length += (HEADER + data) as u64;
        // Within BufReader's buffer where possible.
        reader.seek_relative(i64::try_from(data).unwrap_or(0)).map_err(StoreError::io("read", path))?;
    }
    if length < size {
        tracing::warn!(log = %path.display(), lost = size - length, "the end of a job's log was not whole");
        file.set_len(length).map_err(StoreError::io("repair", path))?;
    }
    Ok(End { file, length, totals })
}

/// The header at `offset` of a file of `size` bytes; none where no whole record is.
fn header(
    reader: &mut impl Read,
    offset: u64,
    size: u64,
) -> std::io::Result<Option<(Kind, usize, Timestamp)>> {
    if offset.saturating_add(HEADER as u64) > size {
        return Ok(None);
    }
    let mut bytes = [0; HEADER];
    reader.read_exact(&mut bytes)?;
    let (place, rest) = bytes.split_at(8);
    let (kind, rest) = rest.split_at(1);
    let (length, time) = rest.split_at(4);
    let word = |bytes: &[u8]| bytes.try_into().map_or(u64::MAX, u64::from_le_bytes);
    let length = length.try_into().map_or(usize::MAX, |bytes| u32::from_le_bytes(bytes) as usize);
    let kind = Kind::ALL.into_iter().find(|known| *known as u8 == kind[0]);
    let time = Timestamp::from_microsecond(word(time).cast_signed());
    Ok(match (kind, time) {
        (Some(kind), Ok(time))
            if word(place) == offset && length <= LONGEST && offset + (HEADER + length) as u64 <= size =>
        {
            Some((kind, length, time))
        }
        _ => None,
    })
}

fn read(path: &Path, from: u64) -> Result<(Vec<LogRecord>, u64), StoreError> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((Vec::new(), from)),
        other => other.map_err(StoreError::io("open", path))?,
    };
    let size = file.metadata().map_err(StoreError::io("look at", path))?.len();
    let mut records = Vec::new();
    let (mut offset, mut total) = (from, 0);
    if from < size {
        file.seek(SeekFrom::Start(from)).map_err(StoreError::io("read", path))?;
        let mut reader = BufReader::new(file);
        while total < READ
            && let Some((kind, length, at)) =
                header(&mut reader, offset, size).map_err(StoreError::io("read", path))?
        {
            let mut data = vec![0; length];
            reader.read_exact(&mut data).map_err(StoreError::io("read", path))?;
            let next = offset + (HEADER + length) as u64;
            records.push(LogRecord { offset, next, at, source: kind.source(), data });
            total += HEADER + length;
            offset = next;
        }
    }
    Ok((records, offset))
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

    /// Appends output to a job's log; see `JobLog` for holding on to one.
    pub async fn append_log(&self, job: &JobId, stream: Stream, data: &[u8]) -> Result<(), StoreError> {
        self.log(job).append(stream, data.to_vec()).await
    }

    /// Records of a job's log from `from` on, and where to go on.
    pub async fn read_log(&self, job: &JobId, from: u64) -> Result<(Vec<LogRecord>, u64), StoreError> {
        self.log(job).read(from).await
    }
}
