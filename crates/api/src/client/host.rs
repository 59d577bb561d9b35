//! `/api/v1/host`.

use fireactions_model::HostView;
use reqwest::Method;

use super::{Client, Result};
use crate::DrainRequest;

impl Client {
    /// The host as a whole.
    pub async fn host(&self) -> Result<HostView> {
        self.json(self.get("/api/v1/host")).await
    }

    /// Drains the host, or lets it take work again.
    pub async fn drain_host(&self, to: &DrainRequest) -> Result<HostView> {
        self.json(self.request(Method::PUT, "/api/v1/host").json(to)).await
    }
}
