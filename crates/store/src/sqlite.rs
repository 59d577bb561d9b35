//! What everybody who opens the database must know about SQLite.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::StoreError;

/// How an SQLite database begins.
pub(crate) const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// A file that belongs to the database: `path` with something after its name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What every connection is set to.
pub(crate) fn configure(db: &Connection) -> Result<(), StoreError> {
    // Nobody else writes, but a person with `sqlite3` may hold a lock for a moment.
    db.busy_timeout(Duration::from_secs(5)).map_err(StoreError::sql("be configured"))?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Whether closing the connection moves the write-ahead log into the database.
pub(crate) fn set_checkpoint(db: &Connection, at_close: bool) -> Result<(), StoreError> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !at_close)
        .map(drop)
        .map_err(StoreError::sql("be configured"))
}
