//! `/api/v1/hosts`.

use super::{Client, Result};
use crate::HostEntry;

impl Client {
    /// The hosts of the cluster; of a host without one, none.
    pub async fn hosts(&self) -> Result<Vec<HostEntry>> {
        self.json(self.get("/api/v1/hosts")).await
    }
}
