//! Which table a row is of, when nothing says so any more: by the number and the types of its values.

use std::path::Path;

use fireactions_model::{JobId, MachineId, PoolName};
use rusqlite::Connection;
use rusqlite::types::Value;

use super::cells::StoredRow;
use crate::{StoreError, schema};

/// A table of ours, as a schema version has it.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// Rows may have as few values: those written before columns were added.
    least: usize,
}

#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    text: bool,
    not_null: bool,
    /// It is the row's number, which is not stored among the values.
    pub(super) number: bool,
}

/// The tables of a schema version; those that others refer to come first.
pub(super) fn tables(version: i64) -> Result<Vec<Table>, StoreError> {
    let mut tables: Vec<Table> = Vec::new();
    for version in 1..=version {
        let mut db = Connection::open_in_memory().map_err(StoreError::sql("make a schema"))?;
        schema::make(&mut db, Path::new("a schema"), version)?;
        let mut query = db.prepare(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name IN ('journal', 'attempts'), rowid",
        )?;
        let names = query.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
        let mut now = Vec::new();
        for name in names {
            let columns = columns(&db, &name)?;
            let before = tables.iter().find(|table| table.name == name);
            let least = before.map_or(columns.len(), |table| table.least.min(columns.len()));
            now.push(Table { name, columns, least });
        }
        tables = now;
    }
    Ok(tables)
}

fn columns(db: &Connection, table: &str) -> Result<Vec<Column>, StoreError> {
    let mut query = db.prepare(
        "SELECT name, type = 'TEXT', \"notnull\", type = 'INTEGER' AND pk = 1 FROM pragma_table_info(?1)",
    )?;
    let mut columns = query
        .query_map([table], |row| {
            Ok(Column { name: row.get(0)?, text: row.get(1)?, not_null: row.get(2)?, number: row.get(3)? })
        })?
        .collect::<Result<Vec<_>, _>>()?;
    let keys: i64 =
        db.query_row("SELECT count(*) FROM pragma_table_info(?1) WHERE pk > 0", [table], |row| row.get(0))?;
    if keys != 1 {
        for column in &mut columns {
            column.number = false;
        }
    }
    Ok(columns)
}

impl Table {
    /// Whether the row may be of this table.
    pub(super) fn fits(&self, row: &StoredRow) -> bool {
        let values = &row.values;
        (self.least..=self.columns.len()).contains(&values.len())
            && self.columns.iter().zip(values).all(|(column, value)| column.fits(value))
            && self.is_its_own(values)
    }

    /// A first look at what names the row: tells two-column tables of SQLite's own from ours, and noise from rows.
    fn is_its_own(&self, values: &[Value]) -> bool {
        let text = |name: &str| match values.get(self.place(name)) {
            Some(Value::Text(text)) => text.as_str(),
            _ => "",
        };
        match self.name.as_str() {
            "machines" => MachineId::new(text("id")).is_ok(),
            "journal" | "attempts" | "released" => MachineId::new(text("machine")).is_ok(),
            "jobs" => JobId::new(text("id")).is_ok(),
            "pools" => PoolName::new(text("name")).is_ok(),
            _ => true,
        }
    }

    /// Where the column of this name is; past the end when there is none.
    pub(super) fn place(&self, name: &str) -> usize {
        self.columns.iter().position(|column| column.name == name).unwrap_or(usize::MAX)
    }
}

impl Column {
    fn fits(&self, value: &Value) -> bool {
        match value {
            Value::Null => self.number || !self.not_null,
            Value::Text(_) => self.text,
            Value::Integer(_) => !self.text && !self.number,
            Value::Real(_) | Value::Blob(_) => false,
        }
    }
}
