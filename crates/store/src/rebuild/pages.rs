//! The pages of a database file that SQLite itself may refuse, with its write-ahead log over them.
//! Source of the format: <https://www.sqlite.org/fileformat2.html>.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::StoreError;
use crate::sqlite::{MAGIC, beside};

/// What SQLite makes, and all that we ever had.
const USUAL_SIZE: usize = 4096;
const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// A database file and its write-ahead log, opened for reading only.
pub(super) struct Pages {
    file: Option<File>,
    log: Option<File>,
    /// Where in the log the newest committed version of a page is.
    newer: HashMap<u32, u64>,
    /// Bytes of a page.
    pub(super) size: usize,
    /// Pages are 1 to this.
    pub(super) count: u32,
    /// Frames of the log that cannot be trusted, because one before them is damaged.
    pub(super) untrusted_frames: u64,
}

/// What page 1 says about the whole.
pub(super) struct Header {
    pub(super) application: i64,
    pub(super) version: i64,
}

impl Pages {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let file = existing(path)?;
        let log = existing(&beside(path, "-wal"))?;
        let length = |file: &Option<File>| match file {
            Some(file) => file.metadata().map(|meta| meta.len()),
            None => Ok(0),
        };
        let file_length = length(&file).map_err(StoreError::io("look at", path))?;
        let mut begin = [0; 100];
        let whole = file.as_ref().is_some_and(|file| file.read_exact_at(&mut begin, 0).is_ok());
        let said = whole.then(|| page_size(u16::from_be_bytes([begin[16], begin[17]]).into())).flatten();
        let size = said.filter(|_| begin.starts_with(MAGIC)).unwrap_or(USUAL_SIZE);
        let mut pages = Self { file, log, newer: HashMap::new(), size, count: 0, untrusted_frames: 0 };
        pages.count = u32::try_from(file_length / size as u64).unwrap_or(u32::MAX);
        pages.read_log();
        Ok(pages)
    }

    /// A page; none where it is not there whole.
    pub(super) fn read(&self, page: u32) -> Option<Vec<u8>> {
        let mut bytes = vec![0; self.size];
        let place = u64::from(page.checked_sub(1)?) * self.size as u64;
        let (file, place) = match self.newer.get(&page) {
            Some(place) => (&self.log, *place),
            None => (&self.file, place),
        };
        file.as_ref()?.read_exact_at(&mut bytes, place).ok()?;
        Some(bytes)
    }

    /// The database's header, where page 1 has one.
    pub(super) fn header(&self) -> Option<Header> {
        let page = self.read(1)?;
        let number = |at: usize| page.get(at..at + 4).map(|bytes| i64::from(word(bytes)));
        page.starts_with(MAGIC).then_some(())?;
        Some(Header { application: number(68)?, version: number(60)? })
    }

    /// Pages that are in no table or index: what they hold is not alive. As far as the list can be followed.
    pub(super) fn free(&self) -> HashSet<u32> {
        let mut free = HashSet::new();
        let mut next =
            self.read(1).filter(|page| page.starts_with(MAGIC)).map_or(0, |page| word(&page[32..36]));
        while next != 0 && free.insert(next) {
            let Some(trunk) = self.read(next) else { break };
            let leaves = (word(&trunk[4..8]) as usize).min(self.size / 4 - 2);
            free.extend(trunk[8..].chunks_exact(4).take(leaves).map(word));
            next = word(&trunk[..4]);
        }
        free
    }

    /// Takes in what the log has committed, up to its end or its first damaged frame, as SQLite does.
    fn read_log(&mut self) {
        let Some(log) = &self.log else { return };
        let mut header = [0; LOG_HEADER];
        if log.read_exact_at(&mut header, 0).is_err() {
            return;
        }
        let Some((size, mut sum, big_endian)) = read_log_header(&header) else { return };
        let salt = &header[16..24];
        if size != self.size {
            return;
        }
        let mut frame = vec![0; FRAME_HEADER + size];
        let mut place = LOG_HEADER as u64;
        let (mut uncommitted, mut trusted) = (HashMap::new(), true);
        while log.read_exact_at(&mut frame, place).is_ok() && &frame[8..16] == salt {
            let (head, data) = frame.split_at(FRAME_HEADER);
            sum = checksum(checksum(sum, &head[..8], big_endian), data, big_endian);
            trusted &= sum == (word(&head[16..20]), word(&head[20..]));
            if trusted {
                uncommitted.insert(word(&head[..4]), place + FRAME_HEADER as u64);
                let pages_then = word(&head[4..8]);
                if pages_then != 0 {
                    self.newer.extend(uncommitted.drain());
                    self.count = pages_then;
                }
            } else {
                self.untrusted_frames += 1;
            }
            place += frame.len() as u64;
        }
    }
}

/// The log's page size, where its checksums begin, and their byte order; none of a header that is not as SQLite wrote it.
fn read_log_header(header: &[u8; LOG_HEADER]) -> Option<(usize, (u32, u32), bool)> {
    let big_endian = match word(&header[..4]) {
        0x377f_0682 => false,
        0x377f_0683 => true,
        _ => return None,
    };
    let sum = checksum((0, 0), &header[..24], big_endian);
    let size = page_size(word(&header[8..12]) as usize)?;
    (sum == (word(&header[24..28]), word(&header[28..]))).then_some((size, sum, big_endian))
}

/// Whether the write-ahead log of the database at `path` begins as SQLite wrote it. Otherwise SQLite takes it for one without
/// content.
pub(crate) fn log_is_readable(path: &Path) -> Result<bool, StoreError> {
    let path = beside(path, "-wal");
    let Some(log) = existing(&path)? else { return Ok(false) };
    let mut header = [0; LOG_HEADER];
    match log.read_exact_at(&mut header, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        other => other.map(|()| read_log_header(&header).is_some()).map_err(StoreError::io("read", &path)),
    }
}

fn existing(path: &Path) -> Result<Option<File>, StoreError> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some).map_err(StoreError::io("open", path)),
    }
}

/// A page size as the header and the log have it; 1 stands for 65536 in the former.
fn page_size(said: usize) -> Option<usize> {
    let size = if said == 1 { 65536 } else { said };
    (size.is_power_of_two() && (512..=65536).contains(&size)).then_some(size)
}

/// Four bytes as a big-endian number.
pub(super) fn word(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_be_bytes)
}

fn checksum(before: (u32, u32), bytes: &[u8], big_endian: bool) -> (u32, u32) {
    let read = |bytes: &[u8]| if big_endian { word(bytes) } else { word(bytes).swap_bytes() };
    bytes.chunks_exact(8).fold(before, |(one, two), pair| {
        let one = one.wrapping_add(read(&pair[..4])).wrapping_add(two);
        (one, two.wrapping_add(read(&pair[4..])).wrapping_add(one))
    })
}
