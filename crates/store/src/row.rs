//! Between columns and the model's types.

use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::Row;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::StoreError;

pub(crate) fn damaged(what: &'static str, why: &impl ToString) -> StoreError {
    StoreError::Damaged { what, why: why.to_string() }
}

/// JSON of a value that has no reason not to have one.
pub(crate) fn to_json<T: Serialize>(what: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| damaged(what, &error))
}

pub(crate) fn json<T: DeserializeOwned>(row: &Row<'_>, what: &'static str) -> Result<T, StoreError> {
    let text: String = row.get(what)?;
    serde_json::from_str(&text).map_err(|error| damaged(what, &error))
}

pub(crate) fn json_opt<T: DeserializeOwned>(
    row: &Row<'_>,
    what: &'static str,
) -> Result<Option<T>, StoreError> {
    let text: Option<String> = row.get(what)?;
    text.map(|text| serde_json::from_str(&text).map_err(|error| damaged(what, &error))).transpose()
}

/// A unit variant, stored by its serde name without the quotes.
pub(crate) fn name<T: DeserializeOwned>(row: &Row<'_>, what: &'static str) -> Result<T, StoreError> {
    let text: String = row.get(what)?;
    serde_json::from_value(serde_json::Value::String(text)).map_err(|error| damaged(what, &error))
}

pub(crate) fn id<T: FromStr<Err: ToString>>(row: &Row<'_>, what: &'static str) -> Result<T, StoreError> {
    let text: String = row.get(what)?;
    text.parse().map_err(|error: T::Err| damaged(what, &error))
}

pub(crate) fn id_opt<T: FromStr<Err: ToString>>(
    row: &Row<'_>,
    what: &'static str,
) -> Result<Option<T>, StoreError> {
    let text: Option<String> = row.get(what)?;
    text.map(|text| text.parse().map_err(|error: T::Err| damaged(what, &error))).transpose()
}

pub(crate) fn number<T: TryFrom<i64>>(row: &Row<'_>, what: &'static str) -> Result<T, StoreError> {
    let value: i64 = row.get(what)?;
    T::try_from(value).map_err(|_| damaged(what, &format!("{value} is out of range")))
}

pub(crate) fn number_opt<T: TryFrom<i64>>(
    row: &Row<'_>,
    what: &'static str,
) -> Result<Option<T>, StoreError> {
    let value: Option<i64> = row.get(what)?;
    value
        .map(|value| T::try_from(value).map_err(|_| damaged(what, &format!("{value} is out of range"))))
        .transpose()
}

pub(crate) fn time(row: &Row<'_>, what: &'static str) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(row.get(what)?).map_err(|error| damaged(what, &error))
}

pub(crate) fn time_opt(row: &Row<'_>, what: &'static str) -> Result<Option<Timestamp>, StoreError> {
    let micros: Option<i64> = row.get(what)?;
    micros
        .map(|micros| Timestamp::from_microsecond(micros).map_err(|error| damaged(what, &error)))
        .transpose()
}

/// Now, with the precision that is stored.
pub(crate) fn now() -> i64 {
    Timestamp::now().as_microsecond()
}

/// All rows of a query through `read`.
pub(crate) fn collect<T>(
    mut rows: rusqlite::Rows<'_>,
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(read(row)?);
    }
    Ok(all)
}

/// Why a row does not read, without what the error says to whom it comes unexpectedly.
pub(crate) fn why(error: &StoreError) -> String {
    match error {
        StoreError::Damaged { what, why } => format!("column {what}: {why}"),
        StoreError::Sql { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}
