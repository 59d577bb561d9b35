//! What is on a page: the rows of a table's leaf, the entries of an index. Every length and offset may be anything;
//! what does not fit exactly is not there.

use rusqlite::types::Value;

use super::pages::{Pages, word};

/// A row as it was stored. It has as many values as its table had columns when it was written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StoredRow {
    pub(super) rowid: i64,
    pub(super) values: Vec<Value>,
}

/// What a page holds.
pub(super) enum Content {
    /// Rows of a table, and how many more there were that do not read.
    Rows(Vec<StoredRow>, usize),
    /// Entries of an index: the columns, and last the row's number.
    Entries(Vec<Vec<Value>>),
    /// Something else that a database has pages for, or may have.
    Other,
    /// Nothing that a database has pages for.
    Nothing,
}

const TABLE_LEAF: u8 = 13;
const TABLE_INNER: u8 = 5;
const INDEX_LEAF: u8 = 10;
const INDEX_INNER: u8 = 2;

/// Reads page number `n`. `used` hears of every overflow page of a row that reads.
pub(super) fn read(pages: &Pages, n: u32, used: &mut impl FnMut(u32)) -> Content {
    let Some(page) = pages.read(n) else { return Content::Nothing };
    // The database's header comes first.
    let at = if n == 1 { 100 } else { 0 };
    let kind = page[at];
    let inner = matches!(kind, TABLE_INNER | INDEX_INNER);
    let Some(cells) = cells(&page, at, if inner { 12 } else { 8 }) else {
        // An overflow page, or one of the list of free pages, begins with the number of the next one.
        let linked = word(&page[..4]) <= pages.count && page.iter().any(|byte| *byte != 0);
        return if linked { Content::Other } else { Content::Nothing };
    };
    match kind {
        TABLE_LEAF => {
            let rows: Vec<Option<StoredRow>> =
                cells.iter().map(|cell| row(pages, page.get(*cell..)?, used)).collect();
            let all = rows.len();
            let rows: Vec<StoredRow> = rows.into_iter().flatten().collect();
            let broken = all - rows.len();
            Content::Rows(rows, broken)
        }
        INDEX_LEAF | INDEX_INNER => {
            let skip = if inner { 4 } else { 0 };
            Content::Entries(cells.iter().filter_map(|cell| entry(page.get(cell + skip..)?)).collect())
        }
        _ => Content::Other,
    }
}

/// Where a b-tree page's cells are; none when it is not such a page.
fn cells(page: &[u8], at: usize, header: usize) -> Option<Vec<usize>> {
    if !matches!(page[at], TABLE_LEAF | TABLE_INNER | INDEX_LEAF | INDEX_INNER) {
        return None;
    }
    let count = usize::from(u16::from_be_bytes([page[at + 3], page[at + 4]]));
    let first = at + header;
    let pointers = page.get(first..first + 2 * count)?;
    let cells = pointers.chunks_exact(2).map(|two| usize::from(u16::from_be_bytes([two[0], two[1]])));
    Some(cells.filter(|cell| *cell >= first + 2 * count && *cell < page.len()).collect())
}

fn row(pages: &Pages, cell: &[u8], used: &mut impl FnMut(u32)) -> Option<StoredRow> {
    let (length, rest) = varint(cell)?;
    let (rowid, rest) = varint(rest)?;
    let length = usize::try_from(length).ok()?;
    // More than the whole database cannot be.
    if length > pages.size.saturating_mul(pages.count as usize) {
        return None;
    }
    let here = on_page(length, pages.size);
    let mut payload = rest.get(..here)?.to_vec();
    let mut chain = Vec::new();
    if here < length {
        let mut next = word(rest.get(here..here + 4)?);
        while payload.len() < length {
            if next == 0 || chain.contains(&next) {
                return None;
            }
            let page = pages.read(next)?;
            chain.push(next);
            let take = (length - payload.len()).min(pages.size - 4);
            payload.extend(&page[4..4 + take]);
            next = word(&page[..4]);
        }
        if next != 0 {
            return None;
        }
    }
    let values = record(&payload)?;
    chain.into_iter().for_each(used);
    Some(StoredRow { rowid: rowid.cast_signed(), values })
}

/// How many bytes of a row's record are on its leaf; the rest is on overflow pages.
fn on_page(length: usize, size: usize) -> usize {
    let most = size - 35;
    if length <= most {
        return length;
    }
    let least = (size - 12) * 32 / 255 - 23;
    let fitting = least + (length - least) % (size - 4);
    if fitting <= most { fitting } else { least }
}

/// An index entry that is whole on its page.
fn entry(cell: &[u8]) -> Option<Vec<Value>> {
    let (length, rest) = varint(cell)?;
    record(rest.get(..usize::try_from(length).ok()?)?)
}

/// The values of a record, which must take exactly all of `bytes`.
fn record(bytes: &[u8]) -> Option<Vec<Value>> {
    let (header, rest) = varint(bytes)?;
    let (mut kinds, mut body) = bytes.split_at_checked(usize::try_from(header).ok()?)?;
    kinds = kinds.get(bytes.len() - rest.len()..)?;
    let mut values = Vec::new();
    while !kinds.is_empty() {
        let (kind, rest) = varint(kinds)?;
        kinds = rest;
        let length = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return None,
            _ => (kind - 12) / 2,
        };
        let (data, rest) = body.split_at_checked(usize::try_from(length).ok()?)?;
        body = rest;
        values.push(match kind {
            0 => Value::Null,
            8 => Value::Integer(0),
            9 => Value::Integer(1),
            7 => Value::Real(f64::from_be_bytes(data.try_into().ok()?)),
            1..=6 => Value::Integer(integer(data)),
            _ if kind % 2 == 0 => Value::Blob(data.to_vec()),
            _ => Value::Text(str::from_utf8(data).ok()?.to_owned()),
        });
    }
    body.is_empty().then_some(values)
}

/// Up to eight bytes, the first with the sign.
fn integer(bytes: &[u8]) -> i64 {
    let sign = if bytes.first().is_some_and(|byte| *byte >= 0x80) { -1 } else { 0 };
    bytes.iter().fold(sign, |number, byte| number << 8 | i64::from(*byte))
}

/// A number of one to nine bytes, and what comes after it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for (n, byte) in bytes.iter().take(9).enumerate() {
        if n == 8 {
            return Some((number << 8 | u64::from(*byte), &bytes[9..]));
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[n + 1..]));
        }
    }
    None
}
