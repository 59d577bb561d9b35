//! Reads the entries of a layer's tar archive.
//!
//! The `tar` crate parses the header fields; the walk is ours, because its own reads extension headers of any size
//! into memory. Formats: v7, ustar, GNU long names, PAX (path, linkpath, size, uid, gid, mtime, SCHILY.xattr.*), sparse
//! files (`sparse.rs`).

use std::collections::BTreeMap;
use std::io::{self, Read};

use tar::{EntryType, Header};

use crate::ImageError;
use crate::sparse::{self, Sparse};

const BLOCK: u64 = 512;
const BLOCK_BYTES: usize = 512;
/// Largest PAX header: room for many attributes of 64 KiB.
const PAX_MAX: u64 = 1 << 20;
/// Longest path or link target, as in Linux (`PATH_MAX`).
pub(crate) const PATH_MAX: usize = 4096;
/// Longest value of an extended attribute, as in Linux.
const XATTR_MAX: usize = 64 << 10;

/// Name and value of an extended attribute.
pub(crate) type Xattr = (Box<[u8]>, Box<[u8]>);

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryKind {
    File,
    Directory,
    Symlink,
    HardLink,
    CharDevice { major: u32, minor: u32 },
    BlockDevice { major: u32, minor: u32 },
    Fifo,
}

/// One entry, names raw as in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub path: Vec<u8>,
    pub kind: EntryKind,
    /// Target of a symbolic or hard link; else empty.
    pub link: Vec<u8>,
    /// Permission bits, including set-id and sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since 1970, cut to what squashfs can hold.
    pub mtime: u32,
    pub xattrs: Vec<Xattr>,
    /// Bytes of content, of files.
    pub size: u64,
    /// Where the content begins in the uncompressed archive.
    pub offset: u64,
    /// What of the content is in the archive, when it is not all.
    pub sparse: Option<Box<Sparse>>,
}

/// Walks an archive. After an error it must not be used again.
pub(crate) struct TarReader<R> {
    input: R,
    /// Bytes consumed.
    pos: u64,
    /// Where the next header begins.
    next: u64,
}

#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<i64>,
    xattrs: BTreeMap<Box<[u8]>, Box<[u8]>>,
    /// Bytes of them, replaced ones included.
    xattr_bytes: u64,
    sparse: sparse::Records,
}

/// The image error inside an IO error, where one of our readers put one.
pub(crate) fn unwrap_io(error: io::Error, what: &str) -> ImageError {
    match error.downcast::<ImageError>() {
        Ok(inner) => inner,
        Err(error) => ImageError::malformed(format!("{what}: {error}")),
    }
}

impl<R: Read> TarReader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, pos: 0, next: 0 }
    }

    /// The next entry, or none at the end of the archive. Content is skipped.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, ImageError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_to(self.next)?;
            let Some(header) = self.header()? else { return Ok(None) };
            let size = number(&header.as_old().size, header.entry_size())
                .map_err(|_| bad("an entry has no valid size"))?;
            self.next = padded_end(self.pos, size)?;
            match header.entry_type() {
                EntryType::XHeader => {
                    let bytes = self.read_extension(size, PAX_MAX)?;
                    parse_pax(&bytes, &mut extensions)?;
                }
                EntryType::XGlobalHeader => {}
                EntryType::GNULongName => {
                    let bytes = self.read_extension(size, PATH_MAX as u64 + 1)?;
                    extensions.path.get_or_insert(until_nul(bytes));
                }
                EntryType::GNULongLink => {
                    let bytes = self.read_extension(size, PATH_MAX as u64 + 1)?;
                    extensions.link.get_or_insert(until_nul(bytes));
                }
                _ => return self.entry(&header, extensions).map(Some),
            }
        }
    }

    /// Reads what follows the archive's end, so that a hash sees all of it.
    pub(crate) fn drain(mut self) -> Result<R, ImageError> {
        io::copy(&mut self.input, &mut io::sink()).map_err(|e| unwrap_io(e, "cannot read a layer"))?;
        Ok(self.input)
    }

    fn skip_to(&mut self, target: u64) -> Result<(), ImageError> {
        let want = target - self.pos;
        let got = io::copy(&mut self.input.by_ref().take(want), &mut io::sink())
            .map_err(|e| unwrap_io(e, "cannot read a layer"))?;
        if got < want {
            return Err(bad("the archive ends in the middle of an entry"));
        }
        self.pos = target;
        Ok(())
    }

    fn header(&mut self) -> Result<Option<Header>, ImageError> {
        let mut block = [0_u8; BLOCK_BYTES];
        let mut filled = 0;
        while filled < block.len() {
            match self.input.read(&mut block[filled..]).map_err(|e| unwrap_io(e, "cannot read a layer"))? {
                0 => break,
                n => filled += n,
            }
        }
        self.pos += filled as u64;
        // Many writers leave out the two zero blocks at the end.
        if filled == 0 || (filled == block.len() && block.iter().all(|b| *b == 0)) {
            return Ok(None);
        }
        if filled < block.len() {
            return Err(bad("the archive ends in the middle of a header"));
        }
        let header = Header::from_byte_slice(&block).clone();
        let sum: u32 = block[..148].iter().chain(&block[156..]).map(|b| u32::from(*b)).sum::<u32>() + 8 * 32;
        if header.cksum().ok() != Some(sum) {
            return Err(bad("it is not a tar archive (wrong header checksum)"));
        }
        Ok(Some(header))
    }

    fn read_extension(&mut self, size: u64, max: u64) -> Result<Vec<u8>, ImageError> {
        if size > max {
            return Err(bad("an extension header is absurdly large"));
        }
        let mut bytes = Vec::new();
        self.input
            .by_ref()
            .take(size)
            .read_to_end(&mut bytes)
            .map_err(|e| unwrap_io(e, "cannot read a layer"))?;
        self.pos += bytes.len() as u64;
        if (bytes.len() as u64) < size {
            return Err(bad("the archive ends in the middle of a header"));
        }
        Ok(bytes)
    }

    fn block(&mut self) -> Result<[u8; BLOCK_BYTES], ImageError> {
        let bytes = self.read_extension(BLOCK, BLOCK)?;
        bytes.try_into().map_err(|_| bad("the archive ends in the middle of a header"))
    }

    fn entry(&mut self, header: &Header, mut ext: Extensions) -> Result<Entry, ImageError> {
        // A sparse file's other name says how it is stored.
        let path = ext.sparse.name.take().or(ext.path).unwrap_or_else(|| header.path_bytes().into_owned());
        let shown = String::from_utf8_lossy(&path[..path.len().min(200)]).into_owned();
        let fail = |why: &str| ImageError::malformed(format!("layer entry '{shown}': {why}"));
        let device = || -> Result<(u32, u32), ImageError> {
            let major = header.device_major().ok().flatten().ok_or_else(|| fail("no valid device number"))?;
            let minor = header.device_minor().ok().flatten().ok_or_else(|| fail("no valid device number"))?;
            // What squashfs (and Linux's 32-bit encoding) can hold.
            if major >= 1 << 12 || minor >= 1 << 20 {
                return Err(fail("its device number is out of range"));
            }
            Ok((major, minor))
        };
        let kind = match header.entry_type() {
            // Archives older than ustar mark directories by a slash only.
            EntryType::Regular if path.ends_with(b"/") && header.as_bytes()[156] == 0 => EntryKind::Directory,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => EntryKind::File,
            EntryType::Directory => EntryKind::Directory,
            EntryType::Symlink => EntryKind::Symlink,
            EntryType::Link => EntryKind::HardLink,
            EntryType::Char => device().map(|(major, minor)| EntryKind::CharDevice { major, minor })?,
            EntryType::Block => device().map(|(major, minor)| EntryKind::BlockDevice { major, minor })?,
            EntryType::Fifo => EntryKind::Fifo,
            other => return Err(fail(&format!("unknown type {:?}", char::from(other.as_byte())))),
        };
        let size = match ext.size {
            Some(size) => size,
            None => number(&header.as_old().size, header.entry_size()).map_err(|_| fail("no valid size"))?,
        };
        // Some writers put the target's size into a link's header; nothing but a file has content.
        let stored = if kind == EntryKind::File { size } else { 0 };
        let (size, sparse) = self.content(header, ext.sparse, kind == EntryKind::File, stored, &fail)?;
        let link = match kind {
            EntryKind::Symlink | EntryKind::HardLink => ext.link.unwrap_or_else(|| {
                header.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default()
            }),
            _ => Vec::new(),
        };
        if path.len() > PATH_MAX || link.len() > PATH_MAX {
            return Err(fail("its path is longer than 4096 bytes"));
        }
        if path.contains(&0) || link.contains(&0) {
            return Err(fail("its path has a NUL byte"));
        }
        let id = |pax: Option<u64>, raw: &[u8], field: io::Result<u64>| -> Result<u32, ImageError> {
            let id = match pax {
                Some(id) => id,
                None => number(raw, field).map_err(|_| fail("no valid owner"))?,
            };
            u32::try_from(id).map_err(|_| fail("its owner is out of range"))
        };
        let mtime = match ext.mtime {
            Some(time) => u32::try_from(time.max(0)).unwrap_or(u32::MAX),
            // Times before 1970 are base-256 negative numbers, which read as nonsense: squashfs has none of them.
            None => match header.mtime() {
                Ok(time) if i64::try_from(time).is_ok() => u32::try_from(time).unwrap_or(u32::MAX),
                _ => 0,
            },
        };
        let fields = header.as_old();
        Ok(Entry {
            kind,
            link,
            mode: number(&fields.mode, header.mode()).map_err(|_| fail("no valid mode"))? & 0o7777,
            uid: id(ext.uid, &fields.uid, header.uid())?,
            gid: id(ext.gid, &fields.gid, header.gid())?,
            mtime,
            xattrs: ext.xattrs.into_iter().collect(),
            size,
            offset: self.pos,
            sparse,
            path,
        })
    }

    /// The size of a file and what of it is stored; afterwards the content comes next.
    fn content(
        &mut self,
        header: &Header,
        records: sparse::Records,
        is_file: bool,
        stored: u64,
        fail: &impl Fn(&str) -> ImageError,
    ) -> Result<(u64, Option<Box<Sparse>>), ImageError> {
        let (pieces, size, stored) = if header.entry_type() == EntryType::GNUSparse {
            let (pieces, size) = sparse::gnu(header, || self.block(), fail)?;
            self.next = padded_end(self.pos, stored)?;
            (pieces, size, stored)
        } else {
            self.next = padded_end(self.pos, stored)?;
            if !records.any || !is_file {
                return Ok((stored, None));
            }
            let in_content = records.in_content;
            let (mut pieces, size) = records.done().map_err(fail)?;
            let mut map = 0;
            if in_content {
                (pieces, map) = sparse::in_content(|| self.block(), fail)?;
            }
            let content = stored.checked_sub(map).ok_or_else(|| fail("its sparse map is cut off"))?;
            (pieces, size, content)
        };
        if size >= 1 << 62 {
            return Err(bad("an entry's size is absurd"));
        }
        let sparse = Sparse::new(pieces, size, stored).map_err(fail)?;
        Ok((size, (stored < size).then(|| Box::new(sparse))))
    }
}

fn bad(why: &str) -> ImageError {
    ImageError::malformed(format!("a layer's archive is broken: {why}"))
}

/// A numeric field; an empty one is zero, as every reader has it.
fn number<T: Default>(raw: &[u8], parsed: io::Result<T>) -> io::Result<T> {
    if raw.iter().all(|b| matches!(b, 0 | b' ')) { Ok(T::default()) } else { parsed }
}

fn padded_end(start: u64, size: u64) -> Result<u64, ImageError> {
    size.checked_next_multiple_of(BLOCK)
        .and_then(|padded| padded.checked_add(start))
        .filter(|end| *end < 1 << 62)
        .ok_or_else(|| bad("an entry's size is absurd"))
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|b| *b == 0) {
        bytes.truncate(end);
    }
    bytes
}

/// Records are `LENGTH KEY=VALUE\n`; values may hold any byte, so only the length says where one ends.
fn parse_pax(mut bytes: &[u8], into: &mut Extensions) -> Result<(), ImageError> {
    let broken = || bad("a PAX header is malformed");
    while !bytes.is_empty() {
        let space = bytes.iter().take(12).position(|b| *b == b' ').ok_or_else(broken)?;
        let length: usize =
            std::str::from_utf8(&bytes[..space]).ok().and_then(|n| n.parse().ok()).ok_or_else(broken)?;
        if length <= space + 2 || length > bytes.len() || bytes[length - 1] != b'\n' {
            return Err(broken());
        }
        let record = &bytes[space + 1..length - 1];
        bytes = &bytes[length..];
        let equals = record.iter().position(|b| *b == b'=').ok_or_else(broken)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        // An empty value takes an earlier one back (POSIX, pax): the header's own counts.
        let text = Some(value).filter(|value| !value.is_empty());
        let number = || {
            let parse =
                |v| std::str::from_utf8(v).ok().and_then(|v| v.parse::<u64>().ok()).ok_or_else(broken);
            text.map(parse).transpose()
        };
        match key {
            b"path" => into.path = text.map(<[u8]>::to_vec),
            b"linkpath" => into.link = text.map(<[u8]>::to_vec),
            b"size" => into.size = number()?,
            b"uid" => into.uid = number()?,
            b"gid" => into.gid = number()?,
            b"mtime" => into.mtime = text.map(|text| seconds(text).ok_or_else(broken)).transpose()?,
            _ if let Some(key) = key.strip_prefix(b"GNU.sparse.") => {
                into.sparse.take(key, value).map_err(bad)?;
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.")
                    && keeps_xattr(name)
                {
                    if value.len() > XATTR_MAX || name.len() > 255 || name.contains(&0) {
                        return Err(bad("an extended attribute is larger than Linux allows"));
                    }
                    into.xattr_bytes += record.len() as u64;
                    // An entry may have any number of headers.
                    if into.xattr_bytes > PAX_MAX {
                        return Err(bad("an entry's extended attributes are absurdly large"));
                    }
                    into.xattrs.insert(name.into(), value.into());
                }
            }
        }
    }
    Ok(())
}

/// The whole seconds of a time such as `1700000000.25`; `.5` has none.
fn seconds(time: &[u8]) -> Option<i64> {
    match std::str::from_utf8(time).ok()?.split('.').next()? {
        "" | "-" => Some(0),
        seconds => seconds.parse().ok(),
    }
}

/// Attributes that the root filesystem carries. Squashfs knows three namespaces. SELinux labels are the building
/// host's. `overlay.` ones would be orders to the guest's overlay (hide this, redirect that).
fn keeps_xattr(name: &[u8]) -> bool {
    let namespace = [&b"user."[..], b"trusted.", b"security."]
        .iter()
        .any(|p| name.len() > p.len() && name.starts_with(p));
    namespace
        && name != b"security.selinux"
        && !name.starts_with(b"trusted.overlay.")
        && !name.starts_with(b"user.overlay.")
}
