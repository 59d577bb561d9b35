//! The schema and its versions. A version is a file of SQL in `migrations/`; the database remembers in
//! `user_version` how many it has had.

use std::path::Path;

use fail::fail_point;
use rusqlite::Connection;

use crate::StoreError;

/// "fire" in ASCII: `file(1)` and we can tell our databases from others.
pub(crate) const APPLICATION_ID: i64 = 0x6669_7265;

const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
];

/// Brings the database to the newest schema. Each version is one transaction: a crash leaves it at a
/// whole version, and the next start goes on.
pub(crate) fn migrate(db: &mut Connection, path: &Path) -> Result<(), StoreError> {
    apply(db, path, MIGRATIONS)
}

/// Makes the schema of this version in an empty database.
pub(crate) fn make(db: &mut Connection, path: &Path, version: i64) -> Result<(), StoreError> {
    let count = usize::try_from(version).unwrap_or(0).min(MIGRATIONS.len());
    apply(db, path, &MIGRATIONS[..count])
}

/// The newest schema.
pub(crate) fn known() -> i64 {
    count(MIGRATIONS)
}

fn count(migrations: &[&str]) -> i64 {
    i64::try_from(migrations.len()).unwrap_or(i64::MAX)
}

/// The schema that the database has; 0 for an empty one. `Foreign` and `TooNew` where it is not ours to touch.
pub(crate) fn version(db: &Connection, path: &Path) -> Result<i64, StoreError> {
    version_of(db, path, MIGRATIONS)
}

/// Lets `look` see the database as it will be once it is migrated. Changes nothing.
pub(crate) fn preview<T>(
    db: &Connection,
    path: &Path,
    look: impl FnOnce(&Connection) -> T,
) -> Result<T, StoreError> {
    let version = version(db, path)?;
    if version == known() {
        return Ok(look(db));
    }
    let tx = db.unchecked_transaction().map_err(StoreError::sql("begin a migration"))?;
    for (_, sql) in pending(version, MIGRATIONS) {
        tx.execute_batch(sql).map_err(StoreError::sql("migrate its schema"))?;
    }
    let seen = look(&tx);
    tx.rollback().map_err(StoreError::sql("undo the preview of a migration"))?;
    Ok(seen)
}

fn pending<'a>(version: i64, migrations: &'a [&'a str]) -> impl Iterator<Item = (i64, &'a str)> {
    (1_i64..).zip(migrations.iter().copied()).filter(move |(next, _)| *next > version)
}

fn version_of(db: &Connection, path: &Path, migrations: &[&str]) -> Result<i64, StoreError> {
    let number = |name: &str| {
        db.pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .map_err(StoreError::sql("read its own version"))
    };
    let application = number("application_id")?;
    let version = number("user_version")?;
    if application != APPLICATION_ID && (application != 0 || version != 0) {
        return Err(StoreError::Foreign { path: path.to_owned(), found: application });
    }
    let known = count(migrations);
    if version > known {
        return Err(StoreError::TooNew { path: path.to_owned(), found: version, known });
    }
    Ok(version)
}

fn apply(db: &mut Connection, path: &Path, migrations: &[&str]) -> Result<(), StoreError> {
    let version = version_of(db, path, migrations)?;
    for (next, sql) in pending(version, migrations) {
        let tx = db.transaction().map_err(StoreError::sql("begin a migration"))?;
        tx.execute_batch(sql).map_err(StoreError::sql("migrate its schema"))?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)
            .and_then(|()| tx.pragma_update(None, "user_version", next))
            .map_err(StoreError::sql("write its version"))?;
        tx.commit().map_err(StoreError::sql("commit a migration"))?;
        tracing::info!(version = next, "state database migrated");
        fail_point!("store::offline-migrate-between");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "CREATE TABLE a (x INTEGER) STRICT; INSERT INTO a VALUES (1);";
    const TWO: &str = "ALTER TABLE a ADD COLUMN y INTEGER; UPDATE a SET y = x + 1;";
    const BROKEN: &str = "ALTER TABLE a ADD COLUMN z INTEGER; SELECT nonsense FROM nowhere;";

    fn version(db: &Connection) -> i64 {
        db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    }

    #[test]
    fn versions_are_applied_once_and_in_order() {
        let mut db = Connection::open_in_memory().unwrap();
        apply(&mut db, Path::new("db"), &[ONE]).unwrap();
        apply(&mut db, Path::new("db"), &[ONE, TWO]).unwrap();
        apply(&mut db, Path::new("db"), &[ONE, TWO]).unwrap();
        assert_eq!(version(&db), 2);
        assert_eq!(db.query_row("SELECT y FROM a", [], |row| row.get::<_, i64>(0)).unwrap(), 2);
    }

    #[test]
    fn a_failed_version_leaves_the_one_before() {
        let mut db = Connection::open_in_memory().unwrap();
        apply(&mut db, Path::new("db"), &[ONE, BROKEN]).unwrap_err();
        assert_eq!(version(&db), 1);
        assert!(db.prepare("SELECT z FROM a").is_err());
        apply(&mut db, Path::new("db"), &[ONE, TWO]).unwrap();
        assert_eq!(version(&db), 2);
    }

    #[test]
    fn newer_and_foreign_databases_are_refused() {
        let mut db = Connection::open_in_memory().unwrap();
        apply(&mut db, Path::new("db"), &[ONE, TWO]).unwrap();
        let error = apply(&mut db, Path::new("db"), &[ONE]).unwrap_err();
        assert!(matches!(error, StoreError::TooNew { found: 2, known: 1, .. }), "{error}");

        let mut other = Connection::open_in_memory().unwrap();
        other.pragma_update(None, "user_version", 7).unwrap();
        let error = apply(&mut other, Path::new("db"), &[ONE]).unwrap_err();
        assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
    }
}
