//! What operators changed on pools and on the host, kept in the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use fireactions_model::{Drained, PoolName, PoolOverride};
use fireactions_pool::Overrides;
use fireactions_store::{Store, StoreError};

/// The store as the pools' memory.
struct Kept(Store);

#[async_trait]
impl Overrides for Kept {
    async fn save(&self, pool: &PoolName, changed: &PoolOverride) -> Result<(), String> {
        self.0.set_pool(pool, changed.paused, changed.scale).await.map_err(|e| e.to_string())
    }

    async fn save_drain(&self, why: Option<&str>) -> Result<Option<Drained>, String> {
        self.0.set_drained(why).await.map_err(|e| e.to_string())?;
        self.0.drained().await.map_err(|e| e.to_string())
    }
}

/// What was changed before, and where further changes go.
pub(super) async fn load(
    store: &Store,
) -> Result<(BTreeMap<PoolName, PoolOverride>, Arc<dyn Overrides>), StoreError> {
    let saved = store.pools().await?;
    let saved =
        saved.into_iter().map(|row| (row.name, PoolOverride { paused: row.paused, scale: row.scale }));
    Ok((saved.collect(), Arc::new(Kept(store.clone()))))
}
