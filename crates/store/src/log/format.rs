//! The records of a log file. A record's header holds its own offset, so that the end of a write cut short by a
//! crash, and a reader's made-up offset, are both recognised:
//!
//! ```text
//! offset u64 | kind u8 | length u32 | time i64 (µs since 1970) | data          (little endian)
//! ```
//!
//! The data of a numbered kind begins with a u64, which is not shown to readers.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::Timestamp;

use super::{LogRecord, LogSource, LogTotals};
use crate::{StoreError, dir};

/// Length of a record without its data.
pub(super) const HEADER: usize = 21;
/// Longest data of one record; longer output is split.
pub(super) const LONGEST: usize = 64 * 1024;
/// About this much data is returned by one read.
const READ: usize = 256 * 1024;
/// Length of a numbered kind's number.
const NUMBER: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Stdout = 1,
    Stderr = 2,
    Note = 3,
    /// A note that output is dropped from here on.
    Cut = 4,
    /// A note that the next attempt begins, as the first versions wrote it.
    Attempt = 5,
    /// A note that output never came, numbered with how many bytes.
    Missing = 6,
    /// A note that an attempt begins, numbered with which. Counting starts again.
    Begin = 7,
}

impl Kind {
    const ALL: [Self; 7] =
        [Self::Stdout, Self::Stderr, Self::Note, Self::Cut, Self::Attempt, Self::Missing, Self::Begin];

    const fn source(self) -> LogSource {
        match self {
            Self::Stdout => LogSource::Stdout,
            Self::Stderr => LogSource::Stderr,
            Self::Note | Self::Cut | Self::Attempt | Self::Missing | Self::Begin => LogSource::Note,
        }
    }

    const fn is_numbered(self) -> bool {
        matches!(self, Self::Missing | Self::Begin)
    }
}

/// Where the next record goes, and what those before it add up to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sum {
    /// Length of the file's whole records.
    pub(super) length: u64,
    /// Where the current attempt's first record is.
    pub(super) attempt_at: u64,
    pub(super) totals: LogTotals,
}

impl Sum {
    const EMPTY: Self = Self { length: 0, attempt_at: 0, totals: LogTotals::NONE };

    /// Counts one more record with `length` bytes of data.
    pub(super) fn count(&mut self, kind: Kind, number: u64, length: usize) {
        let totals = &mut self.totals;
        match kind {
            Kind::Stdout => totals.stdout += length as u64,
            Kind::Stderr => totals.stderr += length as u64,
            Kind::Note => {}
            Kind::Cut => totals.cut = true,
            Kind::Missing => totals.missing = totals.missing.saturating_add(number),
            Kind::Attempt | Kind::Begin => {
                let next = totals.attempt.saturating_add(1);
                let number = u32::try_from(number).unwrap_or(u32::MAX);
                let attempt = if kind == Kind::Begin { number } else { next };
                *totals = LogTotals { attempt, ..LogTotals::NONE };
                self.attempt_at = self.length;
            }
        }
        self.length += (HEADER + length) as u64;
    }
}

/// The bytes of a record at `offset`. `data` is at most `LONGEST` long, less 8 for a numbered kind.
pub(super) fn encode(offset: u64, kind: Kind, number: u64, data: &[u8]) -> Vec<u8> {
    let number = number.to_le_bytes();
    let number = if kind.is_numbered() { number.as_slice() } else { &[] };
    let length = number.len() + data.len();
    let mut record = Vec::with_capacity(HEADER + length);
    record.extend(offset.to_le_bytes());
    record.push(kind as u8);
    record.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    record.extend(Timestamp::now().as_microsecond().to_le_bytes());
    record.extend(number);
    record.extend(data);
    record
}

struct Header {
    kind: Kind,
    /// Of the data, with a numbered kind's number.
    length: usize,
    at: Timestamp,
}

/// The header at `offset` of a file of `size` bytes; none where no whole record is.
fn header(reader: &mut impl Read, offset: u64, size: u64) -> io::Result<Option<Header>> {
    if offset.saturating_add(HEADER as u64) > size {
        return Ok(None);
    }
    let mut bytes = [0; HEADER];
    reader.read_exact(&mut bytes)?;
    let (place, rest) = bytes.split_at(8);
    let (kind, rest) = rest.split_at(1);
    let (length, time) = rest.split_at(4);
    let length = length.try_into().map_or(usize::MAX, |bytes| u32::from_le_bytes(bytes) as usize);
    let kind = Kind::ALL.into_iter().find(|known| *known as u8 == kind[0]);
    let time = Timestamp::from_microsecond(word(time).cast_signed());
    Ok(match (kind, time) {
        (Some(kind), Ok(at))
            if word(place) == offset
                && length <= LONGEST
                && (length >= NUMBER || !kind.is_numbered())
                && offset + (HEADER + length) as u64 <= size =>
        {
            Some(Header { kind, length, at })
        }
        _ => None,
    })
}

fn word(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(u64::MAX, u64::from_le_bytes)
}

/// Opens a log for appending, cutting off half a record at its end.
pub(super) fn open(path: &Path) -> Result<(File, Sum), StoreError> {
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
    let sum = add_up(&file, size).map_err(StoreError::io("read", path))?;
    if sum.length < size {
        tracing::warn!(log = %path.display(), lost = size - sum.length, "the end of a job's log was \
             incomplete");
        file.set_len(sum.length).map_err(StoreError::io("repair", path))?;
    }
    Ok((file, sum))
}

fn add_up(file: &File, size: u64) -> io::Result<Sum> {
    let mut sum = Sum::EMPTY;
    let mut reader = BufReader::new(file);
    while let Some(Header { kind, length, .. }) = header(&mut reader, sum.length, size)? {
        let mut number = [0; NUMBER];
        let mut rest = length;
        if kind.is_numbered() {
            reader.read_exact(&mut number)?;
            rest -= NUMBER;
        }
        sum.count(kind, u64::from_le_bytes(number), length);
        // Within BufReader's buffer where possible.
        reader.seek_relative(i64::try_from(rest).unwrap_or(0))?;
    }
    Ok(sum)
}

/// Records from `from` on, and where to go on.
pub(super) fn read(path: &Path, from: u64) -> Result<(Vec<LogRecord>, u64), StoreError> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), from)),
        other => other.map_err(StoreError::io("open", path))?,
    };
    let size = file.metadata().map_err(StoreError::io("look at", path))?.len();
    let mut records = Vec::new();
    let (mut offset, mut total) = (from, 0);
    if from < size {
        file.seek(SeekFrom::Start(from)).map_err(StoreError::io("read", path))?;
        let mut reader = BufReader::new(file);
        while total < READ
            && let Some(Header { kind, length, at }) =
                header(&mut reader, offset, size).map_err(StoreError::io("read", path))?
        {
            let mut data = vec![0; length];
            reader.read_exact(&mut data).map_err(StoreError::io("read", path))?;
            if kind.is_numbered() {
                data.drain(..NUMBER);
            }
            let next = offset + (HEADER + length) as u64;
            records.push(LogRecord { offset, next, at, source: kind.source(), data });
            total += HEADER + length;
            offset = next;
        }
    }
    Ok((records, offset))
}
