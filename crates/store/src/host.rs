//! What operators want of the host as a whole, and what it is at its forges; it holds over restarts and power loss.

use fireactions_model::Drained;
use rusqlite::{OptionalExtension, Row};

use crate::row::{now, time_opt};
use crate::{Store, StoreError};

impl Store {
    /// Whether the host is drained.
    pub async fn drained(&self) -> Result<Option<Drained>, StoreError> {
        self.read(|db| {
            db.prepare_cached("SELECT * FROM host")?
                .query_row([], |row| Ok(read(row)))
                .optional()?
                .transpose()
                .map(Option::flatten)
        })
        .await
    }

    /// Drains the host, for this reason, or lets it take work again. One that is drained already keeps its time and
    /// gets the new reason.
    pub async fn set_drained(&self, why: Option<&str>) -> Result<(), StoreError> {
        let why = why.map(str::to_owned);
        self.write(move |tx| {
            match why {
                Some(why) => tx.db.execute(
                    "INSERT INTO host (id, drained_at, drained_why) VALUES (1, ?1, ?2) ON CONFLICT (id)
                     DO UPDATE SET drained_at = coalesce(drained_at, ?1), drained_why = ?2",
                    (now(), why),
                )?,
                None => tx.db.execute("UPDATE host SET drained_at = NULL, drained_why = ''", [])?,
            };
            Ok(())
        })
        .await
    }

    /// What tells this server's runners from another host's; `fresh` is kept when there is nothing yet.
    pub async fn runner_key(&self, fresh: &str) -> Result<String, StoreError> {
        let fresh = fresh.to_owned();
        self.write(move |tx| {
            let key = tx.db.query_row(
                "INSERT INTO host (id, runner_key) VALUES (1, ?1) ON CONFLICT (id)
                 DO UPDATE SET runner_key = coalesce(runner_key, ?1) RETURNING runner_key",
                [fresh],
                |row| row.get(0),
            )?;
            Ok(key)
        })
        .await
    }
}

pub(crate) fn read(row: &Row<'_>) -> Result<Option<Drained>, StoreError> {
    let (since, why) = (time_opt(row, "drained_at")?, row.get("drained_why")?);
    Ok(since.map(|since| Drained { since, why }))
}
