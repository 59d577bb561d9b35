//! Salvaged rows into a new database, and out of it again those that the server could not work with.

use std::collections::BTreeSet;
use std::path::Path;

use fireactions_model::{JobId, MachineId, Outcome};
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, Row, ToSql, params_from_iter};

use super::cells::StoredRow;
use super::salvage::Found;
use super::tables::Table;
use crate::{StoreError, host, jobs, machines, pools, row, schema};

/// What the new database has, and has not.
pub(super) struct Refilled {
    pub(super) saved_jobs: BTreeSet<JobId>,
    pub(super) lost_jobs: BTreeSet<JobId>,
    pub(super) machines: usize,
    pub(super) lost: Vec<String>,
}

/// Makes the database at `path`, an empty file.
pub(super) fn refill(path: &Path, found: Found) -> Result<Refilled, StoreError> {
    let mut db = Connection::open(path).map_err(StoreError::sql("open"))?;
    // Rows come in any order; what refers to nothing in the end is removed below.
    db.pragma_update(None, "foreign_keys", false).map_err(StoreError::sql("be configured"))?;
    schema::make(&mut db, path, found.version)?;
    let mut lost = found.lost;
    let tx = db.transaction()?;
    for (table, mut rows) in found.tables {
        newest_first(&table, &mut rows);
        let refused = insert(&tx, &table, &rows)?;
        if refused > 0 {
            lost.push(format!("{refused} rows of table {} are duplicates or break its rules", table.name));
        }
    }
    tx.commit()?;
    schema::migrate(&mut db, path)?;

    let tx = db.transaction()?;
    remove_unreadable(&tx, "machines", machines::read, &mut lost)?;
    remove_unreadable(&tx, "journal", machines::read_journal, &mut lost)?;
    remove_unreadable(&tx, "jobs", jobs::read_change, &mut lost)?;
    remove_unreadable(&tx, "pools", pools::read, &mut lost)?;
    remove_unreadable(&tx, "host", host::read, &mut lost)?;
    let orphans = tx.execute("DELETE FROM journal WHERE machine NOT IN (SELECT id FROM machines)", [])?;
    if orphans > 0 {
        lost.push(format!("{orphans} journal entries of machines whose row is lost"));
    }
    tx.execute("DELETE FROM attempts WHERE job NOT IN (SELECT seq FROM jobs)", [])?;
    bind(&tx, &mut lost)?;
    let saved_jobs = ids::<JobId>(&tx, "SELECT id FROM jobs")?;
    let machines = ids::<MachineId>(&tx, "SELECT id FROM machines")?;
    tx.commit()?;
    let lost_jobs = found.indexed_jobs.difference(&saved_jobs).cloned().collect();
    db.close().map_err(|(_, error)| StoreError::sql("be closed")(error))?;
    Ok(Refilled { saved_jobs, lost_jobs, machines: machines.len(), lost })
}

/// A job or machine that is there twice (a page was left over from an older state) is the one that went further: no
/// job may run again because it had not ended once.
fn newest_first(table: &Table, rows: &mut [StoredRow]) {
    let value = |row: &StoredRow, name: &str| row.values.get(table.place(name)).cloned();
    let number = |row: &StoredRow, name: &str| match value(row, name) {
        Some(Value::Integer(number)) => number,
        _ => i64::MIN,
    };
    match table.name.as_str() {
        "jobs" => rows.sort_by_cached_key(|row| {
            let waits = value(row, "state") == Some(Value::Text("queued".to_owned()));
            let times =
                ["finished_at", "started_at", "assigned_at"].map(|name| -number(row, name).max(-i64::MAX));
            (-number(row, "attempt").max(-i64::MAX), waits, times)
        }),
        "machines" => rows.sort_by_cached_key(|row| -number(row, "state_since").max(-i64::MAX)),
        "attempts" => rows.sort_by_cached_key(|row| -number(row, "ended_at").max(-i64::MAX)),
        _ => {}
    }
}

/// A value, as SQLite takes it.
struct Stored<'a>(&'a Value);

impl ToSql for Stored<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::from(self.0)))
    }
}

/// Inserts the rows; returns how many the table did not take.
fn insert(db: &Connection, table: &Table, rows: &[StoredRow]) -> Result<usize, StoreError> {
    let mut refused = 0;
    for row in rows {
        let values: Vec<Value> = table
            .columns
            .iter()
            .zip(&row.values)
            .map(|(column, value)| if column.number { Value::Integer(row.rowid) } else { value.clone() })
            .collect();
        let names: Vec<&str> =
            table.columns.iter().take(values.len()).map(|column| column.name.as_str()).collect();
        let marks = vec!["?"; values.len()].join(", ");
        let sql = format!("INSERT OR IGNORE INTO {} ({}) VALUES ({marks})", table.name, names.join(", "));
        refused += match db.prepare_cached(&sql)?.execute(params_from_iter(values.iter().map(Stored))) {
            Ok(1) => 0,
            Ok(_) => 1,
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) => 1,
            Err(error) => return Err(error.into()),
        };
    }
    Ok(refused)
}

/// Removes the rows that the server could not read.
fn remove_unreadable<T>(
    db: &Connection,
    table: &str,
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
    lost: &mut Vec<String>,
) -> Result<(), StoreError> {
    let mut broken: Vec<i64> = Vec::new();
    let mut query = db.prepare(&format!("SELECT rowid AS row_number, * FROM {table}"))?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        if let Err(error) = read(row) {
            let number: i64 = row.get("row_number")?;
            broken.push(number);
            // The tables of named things have the name first.
            let named =
                ["machines", "jobs"].contains(&table).then(|| row.get::<_, String>("id").ok()).flatten();
            let name =
                named.map_or_else(|| format!("row {number} of table {table}"), |id| format!("{table} {id}"));
            lost.push(format!("{name} is not readable: {}", row::why(&error)));
        }
    }
    for number in broken {
        db.execute(&format!("DELETE FROM {table} WHERE rowid = ?"), [number])?;
    }
    Ok(())
}

/// The job with this id may have run to its end somewhere: it is not run again.
fn give_up(db: &Connection, job: &JobId) -> Result<(), StoreError> {
    let reason = "its record was damaged while it ran";
    let outcome = row::to_json("outcome", &Outcome::Lost { reason: reason.to_owned() })?;
    db.execute(
        "UPDATE jobs SET state = 'lost', reason = ?3, outcome = ?4, finished_at = ?2, credential = NULL WHERE id = ?1",
        (job.as_str(), row::now(), reason, outcome),
    )?;
    Ok(())
}

/// A job that a machine has must have an attempt that has not ended, else nothing could ever end it; one that waits, none that
/// is still to come.
fn bind(db: &Connection, lost: &mut Vec<String>) -> Result<(), StoreError> {
    // Its row is older than what is known of its attempts: a machine had it since.
    let mut query = db.prepare(
        "SELECT jobs.* FROM jobs WHERE state = 'queued' AND EXISTS
         (SELECT 1 FROM attempts WHERE attempts.job = jobs.seq AND attempts.attempt > jobs.attempt)",
    )?;
    for change in row::collect(query.query([])?, jobs::read_change)? {
        lost.push(format!(
            "job {}: a machine had it after its record was written; the job is marked as lost",
            change.job.id
        ));
        give_up(db, &change.job.id)?;
    }
    let remade = db.execute(
        "INSERT OR IGNORE INTO attempts (job, attempt, machine, pool, assigned_at, started_at)
         SELECT seq, attempt, machine, coalesce(pool, ''), coalesce(assigned_at, queued_at), started_at FROM jobs
         WHERE state IN ('assigned', 'running') AND machine IS NOT NULL",
        [],
    )?;
    if remade > 0 {
        lost.push(format!("{remade} records of job attempts (made again from the jobs)"));
    }
    // Which machine has it is not known, or that one has told its end: running it again might run it twice.
    let mut query = db.prepare(
        "SELECT jobs.* FROM jobs WHERE state IN ('assigned', 'running') AND NOT EXISTS
         (SELECT 1 FROM attempts WHERE attempts.job = jobs.seq AND attempts.machine = jobs.machine AND ended_at IS NULL)",
    )?;
    let unbound = row::collect(query.query([])?, jobs::read_change)?;
    for change in unbound {
        lost.push(format!("job {}: the machine that had it; the job is marked as lost", change.job.id));
        give_up(db, &change.job.id)?;
    }
    let mut query = db.prepare(
        "SELECT jobs.id, jobs.machine FROM jobs WHERE state IN ('assigned', 'running')
         AND machine NOT IN (SELECT id FROM machines)",
    )?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (job, machine): (String, String) = (row.get(0)?, row.get(1)?);
        lost.push(format!(
            "machine {machine}: the next start removes it, and job {job} that it had is tried again if its \
             retry policy allows it"
        ));
    }
    Ok(())
}

fn ids<T: std::str::FromStr<Err: ToString> + Ord>(
    db: &Connection,
    query: &str,
) -> Result<BTreeSet<T>, StoreError> {
    let mut query = db.prepare(query)?;
    Ok(row::collect(query.query([])?, |row| row::id(row, "id"))?.into_iter().collect())
}
