//! The way back from a damaged database: every row that can still be read goes into a new one.
//!
//! The damaged file is only read, page by page and not through SQLite, so that a broken index, root or header costs
//! no row that is on a whole page. What can be trusted less than a row is not taken: pages that were free.
//!
//! A rebuild may be killed at any moment. Until `state.db` is replaced, by one rename, `state.db.rebuilding-TIME` is
//! there; the store is not opened then, and the next rebuild first puts back what this one had set aside.

mod cells;
mod pages;
mod refill;
mod salvage;
mod tables;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use fail::fail_point;
use fireactions_model::JobId;
use jiff::Timestamp;

pub(crate) use pages::log_is_readable;

use crate::sqlite::beside;
use crate::{StoreError, dir};

/// What a rebuild did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rebuilt {
    /// The damaged database and what belongs to it, under their new names.
    pub set_aside: Vec<PathBuf>,
    /// Jobs saved.
    pub jobs: usize,
    /// Machines saved.
    pub machines: usize,
    /// What was lost, or may have been: a line each, for people.
    pub lost: Vec<String>,
}

const REBUILDING: &str = "state.db.rebuilding-";
/// What belongs to a database besides its file, and is useless without it.
const LOGS: [&str; 2] = ["-wal", "-journal"];

/// Makes a new database in `dir` of all that can be read of the one that is there, which is set aside as
/// `state.db.damaged-TIME`. Directories of jobs whose row is lost are set aside as `jobs/JOB.damaged-TIME`.
///
/// `Locked` while a server runs; `TooNew` and `Foreign` for a database that is not ours to rebuild. When it fails, or
/// is killed, nothing is lost: it can be run again.
pub fn rebuild(dir: &Path) -> Result<Rebuilt, StoreError> {
    dir.metadata().map_err(StoreError::io("look at", dir))?;
    let lock = dir::lock(dir)?;
    put_back(dir)?;
    let path = dir.join("state.db");
    let found = salvage::salvage(&path)?;
    let time = free_time(dir);
    let new = dir.join(format!("{REBUILDING}{time}"));
    dir::private_file(&new)?;
    let refilled = refill::refill(&new, found)?;
    File::open(&new).and_then(|file| file.sync_all()).map_err(StoreError::io("sync", &new))?;
    dir::sync_dir(dir)?;
    fail_point!("store::offline-rebuild-filled");

    let mut lost = refilled.lost;
    let mut lost_jobs: BTreeMap<JobId, String> =
        refilled.lost_jobs.into_iter().map(|job| (job, "its row is lost".to_owned())).collect();
    for (job, place) in job_dirs(dir)? {
        if !refilled.saved_jobs.contains(&job) {
            let aside = beside(&place, &format!(".damaged-{time}"));
            rename(&place, &aside)?;
            lost_jobs.insert(job, format!("its row is lost, its files are kept in {}", aside.display()));
        }
    }
    lost.extend(lost_jobs.into_iter().map(|(job, what)| format!("job {job}: {what}")));

    let damaged = dir.join(format!("state.db.damaged-{time}"));
    let mut set_aside = Vec::new();
    for log in LOGS {
        let (from, to) = (beside(&path, log), beside(&damaged, log));
        if from.exists() {
            rename(&from, &to)?;
            set_aside.push(to);
        }
    }
    remove(&beside(&path, "-shm"))?;
    if path.exists() {
        // A second name, so that there is no moment without a state.db.
        std::fs::hard_link(&path, &damaged).map_err(StoreError::io("set aside", &path))?;
        set_aside.insert(0, damaged);
    }
    let jobs = dir.join("jobs");
    if jobs.exists() {
        dir::sync_dir(&jobs)?;
    }
    dir::sync_dir(dir)?;
    // The new one needs no log.
    lock.closing()?;
    fail_point!("store::offline-rebuild-before-rename");
    rename(&new, &path)?;
    fail_point!("store::offline-rebuild-after-rename");
    dir::sync_dir(dir)?;
    Ok(Rebuilt { set_aside, jobs: refilled.saved_jobs.len(), machines: refilled.machines, lost })
}

/// Whether a rebuild of this database was killed before it was through.
pub(crate) fn was_cut_short(path: &Path) -> Result<bool, StoreError> {
    match path.parent() {
        Some(dir) if dir.exists() => Ok(!cut_short(dir)?.is_empty()),
        _ => Ok(false),
    }
}

/// The directories of jobs, with or without a row.
pub(crate) fn job_dirs(dir: &Path) -> Result<Vec<(JobId, PathBuf)>, StoreError> {
    Ok(names(&dir.join("jobs"))?
        .into_iter()
        .filter_map(|(name, path)| Some((JobId::new(name).ok()?, path)))
        .collect())
}

/// Undoes what rebuilds that were killed had set aside, and removes what they had made.
fn put_back(dir: &Path) -> Result<(), StoreError> {
    let path = dir.join("state.db");
    for time in cut_short(dir)? {
        tracing::warn!(%time, "a rebuild was cut short; starting over");
        let damaged = dir.join(format!("state.db.damaged-{time}"));
        for log in LOGS {
            let (from, to) = (beside(&damaged, log), beside(&path, log));
            if from.exists() && !to.exists() {
                rename(&from, &to)?;
            }
        }
        if path.exists() {
            remove(&damaged)?;
        }
        for (name, from) in names(&dir.join("jobs"))? {
            if let Some(job) = name.strip_suffix(&format!(".damaged-{time}")) {
                rename(&from, &dir.join("jobs").join(job))?;
            }
        }
        dir::sync_dir(dir)?;
        let new = dir.join(format!("{REBUILDING}{time}"));
        remove(&beside(&new, "-journal"))?;
        remove(&new)?;
    }
    Ok(())
}

/// When rebuilds began that were killed.
fn cut_short(dir: &Path) -> Result<Vec<String>, StoreError> {
    let times = names(dir)?.into_iter().filter_map(|(name, _)| {
        let time = name.strip_prefix(REBUILDING)?;
        Some(time.strip_suffix("-journal").unwrap_or(time).to_owned())
    });
    Ok(times.collect())
}

/// Now, as a part of names that nothing has yet.
fn free_time(dir: &Path) -> String {
    let now = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let taken = |time: &str| {
        let name = format!("state.db.damaged-{time}");
        ["", "-wal", "-journal"].iter().any(|log| dir.join(format!("{name}{log}")).exists())
    };
    let mut time = now.clone();
    let mut again = 2;
    while taken(&time) {
        time = format!("{now}.{again}");
        again += 1;
    }
    time
}

/// Names in a directory that are text, with their paths; none where there is no directory.
fn names(dir: &Path) -> Result<Vec<(String, PathBuf)>, StoreError> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(StoreError::io("list", dir))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(StoreError::io("list", dir))?;
        if let Ok(name) = entry.file_name().into_string() {
            names.push((name, entry.path()));
        }
    }
    names.sort();
    Ok(names)
}

fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    std::fs::rename(from, to).map_err(StoreError::io("rename", from))
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(StoreError::io("remove", path)),
    }
}
