//! Readiness, version and metrics.

use super::{Client, Result};
use crate::{Readiness, Version};

impl Client {
    /// What runs.
    pub async fn version(&self) -> Result<Version> {
        self.json(self.get("/api/v1/version")).await
    }

    /// Whether jobs are accepted and can run. Not being ready is an answer, not an error.
    pub async fn readiness(&self) -> Result<Readiness> {
        let request = self.get("/readyz").timeout(super::CALL);
        let answer = self.exchange(request).await?;
        self.decode(answer).await
    }

    /// The metrics, as Prometheus reads them.
    pub async fn metrics(&self) -> Result<String> {
        let answer = self.send(self.get("/metrics").timeout(super::CALL)).await?;
        let body = self.whole(answer).await?;
        String::from_utf8(body).map_err(|_| self.protocol("metrics that are not UTF-8"))
    }
}
