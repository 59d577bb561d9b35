//! What a forge is asked and tells, as metrics see it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{ForgeName, PoolName};

/// A forge as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgeView {
    /// Its name in the configuration; `local` for the built-in queue.
    pub name: ForgeName,
    /// Since when the first of the jobs that wait for a pool does; pools that nothing waits for are absent.
    pub oldest: BTreeMap<PoolName, Timestamp>,
    /// What goes over the network; nothing of the built-in queue.
    pub remote: Option<RemoteView>,
}

/// What goes to a hosted forge and comes from it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RemoteView {
    /// Runners registered since the start.
    pub registered: u64,
    /// Requests sent since the start.
    pub requests: u64,
    /// Webhook deliveries since the start by what became of them: `taken`, `repeated`, `other`, `forged`, `malformed`.
    pub deliveries: BTreeMap<&'static str, u64>,
    /// The forge's limits on requests, as it last told them.
    pub limits: Vec<RateLimit>,
}

/// A limit that a forge puts on requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RateLimit {
    /// Whose: `app 12 installation 34`, `app 12` or `token`.
    pub credential: String,
    /// The forge's name of it, such as `core`.
    pub resource: String,
    /// Requests in its window.
    pub limit: u64,
    /// Those that remain.
    pub remaining: u64,
    /// When the window ends, by the forge's clock: there are as many as the limit then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, format = DateTime))]
    pub reset_at: Option<Timestamp>,
    /// Nothing is sent before; none when something may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, format = DateTime))]
    pub blocked_until: Option<Timestamp>,
}
