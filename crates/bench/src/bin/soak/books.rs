//! What there is: counted before and after.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use rusqlite::{Connection, OpenFlags};

use fireactions_bench::leaks::World;

/// Everything that is counted, by kind.
pub(crate) type Counts = BTreeMap<&'static str, usize>;

/// Counts on the host, in the server's process and in its database.
pub(crate) fn counts(world: &World, pid: u32, state: &Path) -> anyhow::Result<Counts> {
    let mut counts = world.counts();
    let entries = |what: &str| -> anyhow::Result<usize> {
        let path = format!("/proc/{pid}/{what}");
        Ok(std::fs::read_dir(&path).with_context(|| path.clone())?.count())
    };
    counts.insert("server's descriptors", entries("fd")?);
    counts.insert("server's threads", entries("task")?);
    let db = Connection::open_with_flags(state.join("state.db"), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    for (kind, sql) in [
        ("rows of machines", "SELECT count(*) FROM machines"),
        ("rows of the journal", "SELECT count(*) FROM journal"),
        ("rows of released machines", "SELECT count(*) FROM released"),
        ("jobs that are not final", "SELECT count(*) FROM jobs WHERE finished_at IS NULL"),
        ("attempts without an end", "SELECT count(*) FROM attempts WHERE ended_at IS NULL"),
    ] {
        counts.insert(kind, usize::try_from(db.query_row(sql, [], |row| row.get::<_, i64>(0))?)?);
    }
    Ok(counts)
}
