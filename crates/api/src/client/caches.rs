//! `/api/v1/caches`.

use super::{Client, Result};
use crate::{CacheEntryView, CacheGcReport, CacheGcRequest, CachesView};

impl Client {
    /// The host's caches.
    pub async fn caches(&self) -> Result<CachesView> {
        self.json(self.get("/api/v1/caches")).await
    }

    /// The entries of the cache of actions, those used last first.
    pub async fn cache_entries(&self) -> Result<Vec<CacheEntryView>> {
        self.json(self.get("/api/v1/caches/actions")).await
    }

    /// Removes entries of the cache of actions.
    pub async fn gc_cache(&self, request: &CacheGcRequest) -> Result<CacheGcReport> {
        self.json(self.post("/api/v1/caches/actions/gc").json(request)).await
    }

    /// Removes what sticky directories keep.
    pub async fn gc_sticky(&self, request: &CacheGcRequest) -> Result<CacheGcReport> {
        self.json(self.post("/api/v1/caches/sticky/gc").json(request)).await
    }
}
