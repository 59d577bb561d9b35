//! Every row of ours that is on a page of the damaged database that still reads.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use fireactions_model::JobId;
use rusqlite::types::Value;

use super::cells::{self, Content, StoredRow};
use super::pages::Pages;
use super::tables::{self, Table};
use crate::{StoreError, schema};

/// What was found.
pub(super) struct Found {
    /// The schema version that the rows are of.
    pub(super) version: i64,
    /// The tables of that version, with their rows as they were found.
    pub(super) tables: Vec<(Table, Vec<StoredRow>)>,
    /// Jobs that an index knows.
    pub(super) indexed_jobs: BTreeSet<JobId>,
    /// What was not found, for people.
    pub(super) lost: Vec<String>,
}

/// Most page numbers that a message lists.
const LISTED: usize = 20;

pub(super) fn salvage(path: &Path) -> Result<Found, StoreError> {
    let pages = Pages::open(path)?;
    let header = pages.header().filter(|header| header.version >= 1);
    let ours = header.as_ref().is_some_and(|header| header.application == schema::APPLICATION_ID);
    let known = schema::known();
    let version = match &header {
        Some(header) if ours && header.version > known => {
            return Err(StoreError::TooNew { path: path.to_owned(), found: header.version, known });
        }
        Some(header) if ours => header.version,
        _ => known,
    };
    let mut tables: Vec<(Table, Vec<StoredRow>)> =
        tables::tables(version)?.into_iter().map(|table| (table, Vec::new())).collect();

    let free = pages.free();
    let (mut strange, mut linked) = (BTreeSet::new(), HashSet::new());
    let (mut broken, mut indexed_jobs) = (BTreeMap::new(), BTreeSet::new());
    for n in (1..=pages.count).filter(|n| !free.contains(n)) {
        match cells::read(&pages, n, &mut |page| {
            linked.insert(page);
        }) {
            Content::Rows(rows, unread) => {
                if unread > 0 {
                    broken.insert(n, unread);
                }
                for row in rows {
                    if let Some((_, rows)) = tables.iter_mut().find(|(table, _)| table.fits(&row)) {
                        rows.push(row);
                    }
                }
            }
            Content::Entries(entries) => indexed_jobs.extend(entries.into_iter().filter_map(indexed_job)),
            Content::Other => {}
            Content::Nothing => {
                strange.insert(n);
            }
        }
    }
    // The middle of a long row may look like nothing.
    strange.retain(|page| !linked.contains(page));
    let none = tables.iter().all(|(_, rows)| rows.is_empty());
    if let Some(header) = header.filter(|_| !ours && none) {
        return Err(StoreError::Foreign { path: path.to_owned(), found: header.application });
    }

    let mut lost = Vec::new();
    if pages.count == 0 {
        lost.push(format!("{} is empty, gone or too short: no row could be read", path.display()));
    }
    if !strange.is_empty() {
        let listed: Vec<String> = strange.iter().take(LISTED).map(u32::to_string).collect();
        let more = if strange.len() > LISTED { ", …" } else { "" };
        lost.push(format!(
            "{} of {} pages ({}{more}) are not readable: rows of any table may have been there, including \
             which pools are paused or scaled and whether the host is drained",
            strange.len(),
            pages.count,
            listed.join(", "),
        ));
    }
    lost.extend(broken.into_iter().map(|(page, rows)| {
        format!(
            "{rows} rows on page {page} are not \
         readable"
        )
    }));
    if pages.untrusted_frames > 0 {
        lost.push(format!(
            "the last {} pages in the write-ahead log are not readable: if the host did not lose its power, commits were \
             lost with them",
            pages.untrusted_frames
        ));
    }
    Ok(Found { version, tables, indexed_jobs, lost })
}

/// The job of an entry of the index of job ids.
fn indexed_job(entry: Vec<Value>) -> Option<JobId> {
    match <[Value; 2]>::try_from(entry) {
        Ok([Value::Text(id), Value::Integer(_)]) => JobId::new(id).ok(),
        _ => None,
    }
}
