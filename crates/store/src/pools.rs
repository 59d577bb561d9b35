//! What operators changed about pools while the server ran; it holds over restarts.

use fireactions_model::PoolName;
use rusqlite::{Row, params};

use crate::row::{collect, id, number_opt};
use crate::{Store, StoreError};

/// A pool's overrides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolOverride {
    /// Which pool.
    pub name: PoolName,
    /// It makes no machines.
    pub paused: bool,
    /// Minimum and maximum of machines instead of the configured ones.
    pub scale: Option<(u32, u32)>,
}

impl Store {
    /// Writes a pool's overrides; the row goes when there are none.
    pub async fn set_pool(
        &self,
        name: &PoolName,
        paused: bool,
        scale: Option<(u32, u32)>,
    ) -> Result<(), StoreError> {
        let name = name.clone();
        self.write(move |tx| {
            if !paused && scale.is_none() {
                tx.db.execute("DELETE FROM pools WHERE name = ?", [name.as_str()])?;
                return Ok(());
            }
            let (min, max) = scale.unzip();
            tx.db.execute(
                "INSERT INTO pools (name, paused, min, max) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (name) DO UPDATE SET paused = ?2, min = ?3, max = ?4",
                params![name.as_str(), paused, min, max],
            )?;
            Ok(())
        })
        .await
    }

    /// All overrides, by name. A name may be of a pool that is no longer configured.
    pub async fn pools(&self) -> Result<Vec<PoolOverride>, StoreError> {
        self.read(|db| {
            let mut query = db.prepare_cached("SELECT * FROM pools ORDER BY name")?;
            collect(query.query([])?, read)
        })
        .await
    }
}

pub(crate) fn read(row: &Row<'_>) -> Result<PoolOverride, StoreError> {
    let (min, max) = (number_opt(row, "min")?, number_opt(row, "max")?);
    Ok(PoolOverride { name: id(row, "name")?, paused: row.get("paused")?, scale: min.zip(max) })
}
