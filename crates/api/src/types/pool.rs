//! Pools: what a user may change.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// New bounds of a pool; they hold until the next change, restarts included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleRequest {
    /// Machines kept warm; as it is when absent.
    #[serde(default)]
    pub min: Option<u32>,
    /// Most machines at once; as it is when absent.
    #[serde(default)]
    pub max: Option<u32>,
}
