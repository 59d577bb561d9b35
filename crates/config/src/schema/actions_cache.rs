//! The cache service of CI jobs on the host: what `actions/cache` saves.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{AbsolutePath, ActionsCacheS3Config, Duration};

/// The cache service of CI jobs (`actions/cache`) on this host. The server runs it at the bridge's address, and gives it to the jobs
/// of Gitea, of Forgejo, and of GitHub's scale sets. docs/caches.md explains it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ActionsCacheConfig {
    /// Whether jobs use the cache.
    pub enabled: bool,
    /// TCP port at the bridge's address. Guests reach it whatever their pool's network rules say, and nobody else does but this host.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// Directory of the cache's own. Created if it does not exist. When absent, `actions-cache` in `state_dir`. With `s3`, uploads are
    /// there on their way to the bucket, and what jobs save that share with no others.
    #[schemars(example = "/srv/actions-cache")]
    pub storage_dir: Option<AbsolutePath>,
    /// Bucket in which the entries are instead, for several hosts together.
    pub s3: Option<ActionsCacheS3Config>,
    /// Size limit of all entries and uploads together, in MiB. Above it, the entries used least lately are removed.
    #[schemars(range(min = 64))]
    pub max_size_mib: u64,
    /// The same limit for the entries of one repository. No single entry is larger.
    #[schemars(range(min = 1))]
    pub max_repository_mib: u64,
    /// What stays free on the directory's file system, in MiB: entries are removed for it, and at last uploads are refused.
    pub keep_free_mib: u64,
    /// An entry that no job used for this long is removed.
    pub unused_for: Duration,
}

impl ActionsCacheConfig {
    /// The cache's directory.
    pub fn directory(&self, state: &Path) -> PathBuf {
        self.storage_dir.as_ref().map_or_else(|| state.join("actions-cache"), |dir| dir.to_path_buf())
    }
}

impl Default for ActionsCacheConfig {
    /// As at GitHub, but for the sum of all, which GitHub does not have.
    fn default() -> Self {
        Self {
            enabled: false,
            port: 5080,
            storage_dir: None,
            s3: None,
            max_size_mib: 50 * 1024,
            max_repository_mib: 10 * 1024,
            keep_free_mib: 5 * 1024,
            unused_for: Duration::secs(7 * 24 * 3600),
        }
    }
}
