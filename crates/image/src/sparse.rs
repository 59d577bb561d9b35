//! Sparse files of archives: which stretches of a file are stored. Forms: GNU's own (type `S`) and GNU tar's three in PAX
//! records (0.0, 0.1, 1.0).

use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

use crate::ImageError;

/// Most stretches of one file. A larger map would be a burden before it could be counted against the image's bounds.
pub(crate) const PIECES_MAX: usize = 1 << 18;

/// A stored stretch of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Where it belongs in the file.
    pub at: u64,
    pub len: u64,
}

/// What is stored of a file that has holes; its content is these stretches, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sparse {
    /// Ascending, none empty.
    pub pieces: Vec<Piece>,
    /// Their bytes together.
    pub stored: u64,
}

impl Sparse {
    /// The map of a file of `size` bytes, of which `stored` are in the archive.
    pub(crate) fn new(pieces: Vec<Piece>, size: u64, stored: u64) -> Result<Self, &'static str> {
        let mut end = 0;
        let mut sum = 0;
        for piece in &pieces {
            if piece.at < end {
                return Err("its sparse map is not in order");
            }
            end = piece
                .at
                .checked_add(piece.len)
                .filter(|end| *end <= size)
                .ok_or("its sparse map reaches beyond its end")?;
            sum += piece.len;
        }
        if sum != stored {
            return Err("its sparse map is not that of its content");
        }
        let pieces = pieces.into_iter().filter(|piece| piece.len > 0).collect();
        Ok(Self { pieces, stored })
    }
}

/// A map while it is read.
#[derive(Default)]
pub(crate) struct Map {
    pieces: Vec<Piece>,
    /// An offset without its length yet.
    at: Option<u64>,
}

impl Map {
    /// Offsets and lengths by turns.
    pub(crate) fn push(&mut self, number: u64) -> Result<(), &'static str> {
        match self.at.take() {
            None => self.at = Some(number),
            Some(_) if self.pieces.len() == PIECES_MAX => return Err("its sparse map is absurdly long"),
            Some(at) => self.pieces.push(Piece { at, len: number }),
        }
        Ok(())
    }

    /// How many stretches it has.
    pub(crate) fn len(&self) -> usize {
        self.pieces.len()
    }

    pub(crate) fn done(self) -> Result<Vec<Piece>, &'static str> {
        if self.at.is_some() { Err("its sparse map is cut off") } else { Ok(self.pieces) }
    }

    fn add(&mut self, headers: &[GnuSparseHeader]) -> Result<(), &'static str> {
        for header in headers.iter().filter(|header| !header.is_empty()) {
            self.push(header.offset().map_err(|_| "its sparse map is malformed")?)?;
            self.push(header.length().map_err(|_| "its sparse map is malformed")?)?;
        }
        Ok(())
    }
}

/// Reads the map of a file of GNU's type `S` and the file's size. `block` gives the next block of the archive.
pub(crate) fn gnu(
    header: &Header,
    mut block: impl FnMut() -> Result<[u8; 512], ImageError>,
    fail: impl Fn(&str) -> ImageError,
) -> Result<(Vec<Piece>, u64), ImageError> {
    let header = header.as_gnu().ok_or_else(|| fail("it is stored sparse without GNU's header"))?;
    let size = header.real_size().map_err(|_| fail("no valid size"))?;
    let mut map = Map::default();
    map.add(&header.sparse).map_err(&fail)?;
    let mut more = header.is_extended();
    while more {
        let mut next = GnuExtSparseHeader::new();
        *next.as_mut_bytes() = block()?;
        map.add(next.sparse()).map_err(&fail)?;
        more = next.is_extended();
    }
    Ok((map.done().map_err(fail)?, size))
}

/// What PAX records say of a sparse file.
#[derive(Default)]
pub(crate) struct Records {
    /// Whether there is any.
    pub any: bool,
    /// The map is in the content (form 1.0).
    pub in_content: bool,
    pub name: Option<Vec<u8>>,
    pub size: Option<u64>,
    map: Map,
}

impl Records {
    /// Takes the record `GNU.sparse.` and `key`.
    pub(crate) fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let text = std::str::from_utf8(value).unwrap_or_default();
        let number = |text: &str| text.parse::<u64>().map_err(|_| "its sparse map is malformed");
        self.any = true;
        match key {
            b"major" => self.in_content = number(text)? > 0,
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.size = Some(number(text)?),
            b"offset" | b"numbytes" => self.map.push(number(text)?)?,
            b"map" => text
                .split(',')
                .filter(|part| !part.is_empty())
                .try_for_each(|part| self.map.push(number(part)?))?,
            // The count, and the minor version.
            _ => {}
        }
        Ok(())
    }

    /// The map and the file's size.
    pub(crate) fn done(self) -> Result<(Vec<Piece>, u64), &'static str> {
        let size = self.size.ok_or("it is stored sparse without its size")?;
        Ok((self.map.done()?, size))
    }
}

/// The map at the beginning of a file's content (form 1.0): decimal numbers, a line each: how many, then offsets and
/// lengths. It fills whole blocks; how many bytes they were is given, too.
pub(crate) fn in_content(
    mut block: impl FnMut() -> Result<[u8; 512], ImageError>,
    fail: impl Fn(&str) -> ImageError,
) -> Result<(Vec<Piece>, u64), ImageError> {
    let (mut map, mut count, mut number, mut read) = (Map::default(), None, None, 0);
    let malformed = || fail("its sparse map is malformed");
    while count.is_none_or(|count| (map.len() as u64) < count) {
        read += 512;
        for byte in block()? {
            match byte {
                b'0'..=b'9' => {
                    let next = number.unwrap_or(0_u64).checked_mul(10);
                    number =
                        Some(next.and_then(|n| n.checked_add(u64::from(byte - b'0'))).ok_or_else(malformed)?);
                }
                b'\n' => {
                    let number = number.take().ok_or_else(malformed)?;
                    if count.is_none() {
                        count = Some(number);
                    } else {
                        map.push(number).map_err(&fail)?;
                    }
                }
                _ => return Err(malformed()),
            }
            if count.is_some_and(|count| map.len() as u64 >= count) {
                break;
            }
        }
    }
    Ok((map.done().map_err(fail)?, read))
}
