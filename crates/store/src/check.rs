//! Whether the database may be worked on. Looking changes nothing: what is found damaged stays as it was found.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, Row, ffi};

use crate::sqlite::{MAGIC, beside, configure, set_checkpoint};
use crate::{StoreError, dir, host, jobs, machines, pools, rebuild, row, schema};

/// The check at the start of a server ends after this; what was not looked at by then is taken for whole. A gigabyte
/// takes about a second.
const START: Duration = Duration::from_secs(5);
/// The same for an operator who asked for a check.
const ASKED: Duration = Duration::from_secs(600);
/// Virtual machine steps of SQLite between two looks at the clock.
const STEPS: i32 = 100_000;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// The database.
    pub path: PathBuf,
    /// What is wrong with it, a line each; empty when it is whole.
    pub problems: Vec<String>,
    /// Jobs that read.
    pub jobs: usize,
    /// Machines that read.
    pub machines: usize,
}

/// Looks at every page, index and row of the database in `dir`, under its lock. Changes nothing. Errors are those of
/// looking (`Locked`, `Io`), and `Foreign` or `TooNew`; damage is in the answer.
pub fn check(dir: &Path) -> Result<Checked, StoreError> {
    let path = dir.join("state.db");
    dir.metadata().map_err(StoreError::io("look at", dir))?;
    let lock = dir::lock(dir)?;
    let mut checked = Checked { path: path.clone(), problems: Vec::new(), jobs: 0, machines: 0 };
    match look(&path, lock.unclean, Depth::Whole, ASKED, &mut checked) {
        Ok(_) => {}
        Err(StoreError::Corrupt { why, .. }) => checked.problems.push(why),
        Err(error) => return Err(error),
    }
    Ok(checked)
}

/// Opens the database for writing once the check found no damage, and creates it if there is none yet. A log that is
/// there stays if the connection is closed as it is ([`set_checkpoint`]).
pub(crate) fn open(path: &Path, unclean: bool) -> Result<Connection, StoreError> {
    let mut checked = Checked { path: path.to_owned(), problems: Vec::new(), jobs: 0, machines: 0 };
    let found = look(path, unclean, Depth::Structure, START, &mut checked)?;
    if let Some(why) = checked.problems.into_iter().next() {
        return Err(StoreError::Corrupt { path: path.to_owned(), why });
    }
    if let Some(db) = found {
        return Ok(db);
    }
    dir::private_file(path)?;
    Connection::open(path).map_err(StoreError::sql("open"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// Every page, without comparing indexes to tables.
    Structure,
    /// Indexes and references too.
    Whole,
}

/// Looks at the database; None when there is none yet. The connection must not be closed with a checkpoint unless
/// there are no problems.
fn look(
    path: &Path,
    unclean: bool,
    depth: Depth,
    limit: Duration,
    checked: &mut Checked,
) -> Result<Option<Connection>, StoreError> {
    let corrupt = |why: &str| StoreError::Corrupt { path: path.to_owned(), why: why.to_owned() };
    if rebuild::was_cut_short(path)? {
        return Err(corrupt("a rebuild of it was cut short; run it again: it starts over and loses nothing"));
    }
    let log = length(&beside(path, "-wal"))?;
    if length(path)? == 0 {
        let jobs = path.parent().map_or(Ok(0), |dir| rebuild::job_dirs(dir).map(|jobs| jobs.len()))?;
        return match (log, jobs) {
            (0, 0) => Ok(None),
            (0, jobs) => Err(corrupt(&format!("it is empty or gone, but there are files of {jobs} jobs"))),
            (_, _) => Err(corrupt("it is empty or gone, but its write-ahead log state.db-wal is there")),
        };
    }
    if !has_magic(path)? {
        return Err(corrupt("it does not begin like an SQLite database"));
    }
    if unclean && log == 0 {
        return Err(corrupt(
            "its write-ahead log state.db-wal is gone: the last server did not shut down cleanly, and its \
             last writes were in that file (unless somebody has written to the database with another \
             program, which moves the log into it)",
        ));
    }
    if unclean && !rebuild::log_is_readable(path)? {
        return Err(corrupt(
            "the beginning of its write-ahead log state.db-wal is damaged: the last server did not shut down cleanly, \
             and its last writes are in that file, which SQLite would take for an empty one",
        ));
    }
    let mut db = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(StoreError::sql("open"))?;
    // Without a log there is nothing to move, and SQLite tidies up what it makes for looking.
    set_checkpoint(&db, log == 0)?;
    configure(&db)?;
    let since = Instant::now();
    db.progress_handler(STEPS, Some(move || since.elapsed() > limit))
        .map_err(StoreError::sql("be configured"))?;
    let found = inspect(&db, path, depth, checked);
    db.progress_handler(STEPS, None::<fn() -> bool>).map_err(StoreError::sql("be configured"))?;
    match found {
        Err(error) if is_interrupted(&error) => {
            tracing::warn!(database = %path.display(), ?limit, "too large to be checked completely in time");
            if depth == Depth::Whole {
                checked.problems.push(format!("it could not be checked completely within {limit:?}"));
            }
        }
        Err(error) => match damage(&error) {
            Some(why) => checked.problems.push(why),
            None => return Err(error),
        },
        Ok(()) => {}
    }
    Ok(Some(db))
}

fn inspect(db: &Connection, path: &Path, depth: Depth, checked: &mut Checked) -> Result<(), StoreError> {
    if schema::version(db, path)? == 0 {
        let jobs = path.parent().map_or(Ok(0), |dir| rebuild::job_dirs(dir).map(|jobs| jobs.len()))?;
        if jobs > 0 {
            checked.problems.push(format!("it has no tables, but there are files of {jobs} jobs"));
        }
        return Ok(());
    }
    let pragma = match depth {
        Depth::Structure => "PRAGMA quick_check(1)",
        Depth::Whole => "PRAGMA integrity_check(20)",
    };
    let mut query = db.prepare(pragma)?;
    let mut lines = query.query([])?;
    while let Some(line) = lines.next()? {
        let text: String = line.get(0)?;
        if text != "ok" {
            checked.problems.push(text);
        }
    }
    if depth == Depth::Whole {
        let mut query = db.prepare("PRAGMA foreign_key_check")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
            checked.problems.push(format!("a row of table {table} refers to no row of table {parent}"));
        }
    }
    if checked.problems.is_empty() {
        schema::preview(db, path, |db| rows(db, checked))??;
    }
    Ok(())
}

/// Reads every row as the server would.
fn rows(db: &Connection, checked: &mut Checked) -> Result<(), StoreError> {
    let problems = &mut checked.problems;
    checked.machines = all(db, "machines", machines::read, problems)?;
    all(db, "journal", machines::read_journal, problems)?;
    all(db, "pools", pools::read, problems)?;
    all(db, "host", host::read, problems)?;
    checked.jobs = all(db, "jobs", jobs::read_change, problems)?;
    for (table, column) in [("attempts", "machine"), ("released", "machine")] {
        all(db, table, |found| row::id::<fireactions_model::MachineId>(found, column), problems)?;
    }
    Ok(())
}

/// How many rows of a table read; the first of those that do not is a problem.
fn all<T>(
    db: &Connection,
    table: &str,
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
    problems: &mut Vec<String>,
) -> Result<usize, StoreError> {
    let mut query = db.prepare(&format!("SELECT rowid AS row_number, * FROM {table}"))?;
    let mut rows = query.query([])?;
    let (mut whole, mut broken) = (0, 0);
    while let Some(row) = rows.next()? {
        match read(row) {
            Ok(_) => whole += 1,
            Err(error) => {
                broken += 1;
                if broken == 1 {
                    let number: i64 = row.get("row_number")?;
                    problems
                        .push(format!("row {number} of table {table} is not readable: {}", row::why(&error)));
                }
            }
        }
    }
    if broken > 1 {
        problems.push(format!("{broken} rows of table {table} are not readable"));
    }
    Ok(whole)
}

/// What an error says about the database itself; none when it is about something else.
fn damage(error: &StoreError) -> Option<String> {
    let StoreError::Sql { source, .. } = error else { return None };
    if let Some(ffi::Error { code: ErrorCode::SystemIoFailure, extended_code }) = source.sqlite_error() {
        // What cannot be read is damage; locks, memory that is shared and syncs are of the host.
        let is_of_the_file = matches!(
            *extended_code,
            ffi::SQLITE_IOERR_READ
                | ffi::SQLITE_IOERR_SHORT_READ
                | ffi::SQLITE_IOERR_CORRUPTFS
                | ffi::SQLITE_IOERR_DATA
        );
        return is_of_the_file.then(|| source.to_string());
    }
    match source.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::CannotOpen
            | ErrorCode::OutOfMemory
            | ErrorCode::DiskFull
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied,
        ) => None,
        _ => Some(source.to_string()),
    }
}

fn is_interrupted(error: &StoreError) -> bool {
    let StoreError::Sql { source, .. } = error else { return false };
    source.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}

/// Length of a file; 0 where there is none.
fn length(path: &Path) -> Result<u64, StoreError> {
    match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        other => Ok(other.map_err(StoreError::io("look at", path))?.len()),
    }
}

fn has_magic(path: &Path) -> Result<bool, StoreError> {
    let mut begin = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut begin))
        .map_err(StoreError::io("read", path))?;
    Ok(begin == MAGIC)
}
