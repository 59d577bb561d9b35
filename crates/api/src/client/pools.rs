//! `/api/v1/pools`.

use fireactions_model::{PoolName, PoolView};
use reqwest::Method;

use super::{Client, Result};
use crate::ScaleRequest;

impl Client {
    /// Every pool.
    pub async fn pools(&self) -> Result<Vec<PoolView>> {
        self.json(self.get("/api/v1/pools")).await
    }

    /// One pool.
    pub async fn pool(&self, name: &PoolName) -> Result<PoolView> {
        self.json(self.get(&format!("/api/v1/pools/{name}"))).await
    }

    /// Pauses or resumes the making of machines.
    pub async fn pause_pool(&self, name: &PoolName, paused: bool) -> Result<PoolView> {
        let verb = if paused { "pause" } else { "resume" };
        self.json(self.post(&format!("/api/v1/pools/{name}/{verb}"))).await
    }

    /// Restores a pool's configured bounds.
    pub async fn reset_scale(&self, name: &PoolName) -> Result<PoolView> {
        self.json(self.request(Method::DELETE, &format!("/api/v1/pools/{name}/scale"))).await
    }

    /// Changes a pool's bounds until the next change.
    pub async fn scale_pool(&self, name: &PoolName, to: ScaleRequest) -> Result<PoolView> {
        self.json(self.request(Method::PUT, &format!("/api/v1/pools/{name}/scale")).json(&to)).await
    }
}
