//! Pools: what a user may change.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// New bounds of a pool; they hold until the next change, across restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleRequest {
    /// Number of machines kept warm; by default unchanged.
    #[serde(default)]
    pub min: Option<u32>,
    /// Maximum number of machines at once; by default unchanged.
    #[serde(default)]
    pub max: Option<u32>,
}
