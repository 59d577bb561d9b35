//! The cache service of CI jobs: whether its limits make sense, and whether any job uses it.

use std::time::Duration;

use super::{At, Check};
use crate::{Config, ForgeRef};

/// Less is a mistake: an entry must outlive the time between two jobs.
const SHORTEST: Duration = Duration::from_secs(60);

impl Check<'_> {
    pub(super) fn actions_cache(&mut self, config: &Config) {
        let (at, cache) = (At::root().key("actions_cache"), &config.actions_cache);
        if cache.max_size_mib < 64 || cache.max_repository_mib == 0 || cache.port == 0 {
            let (key, least) = match (cache.port, cache.max_repository_mib) {
                (0, _) => ("port", 1),
                (_, 0) => ("max_repository_mib", 1),
                _ => ("max_size_mib", 64),
            };
            self.error(
                &at.key(key),
                &[],
                format!("actions_cache.{key} is too small"),
                format!("write {least} or more"),
            );
        } else if cache.max_repository_mib > cache.max_size_mib {
            let (own, all) = (cache.max_repository_mib, cache.max_size_mib);
            self.error(
                &at.key("max_repository_mib"),
                &[&at.key("max_size_mib")],
                format!("one repository may have {own} MiB, and all together {all} MiB"),
                "make actions_cache.max_size_mib larger, or max_repository_mib smaller",
            );
        }
        if cache.unused_for.0 < SHORTEST {
            self.error(
                &at.key("unused_for"),
                &[],
                format!("entries that no job used for {} would go before the next job", cache.unused_for),
                "write a minute or more, such as 7d",
            );
        }
        let has_users =
            |config: &Config| config.forges().iter().any(|(_, forge)| !matches!(forge, ForgeRef::Github(_)));
        if cache.enabled && !has_users(config) {
            self.warn(
                &at.key("enabled"),
                "no job will use the cache: only jobs of a Gitea or a Forgejo do",
                "remove it, or configure 'gitea' or 'forgejo'",
            );
        }
    }
}
