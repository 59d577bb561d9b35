//! The cache service of CI jobs: whether its limits make sense, and whether any job uses it.

use std::time::Duration;

use super::{At, Check};
use crate::{Config, ForgeRef};

/// Less is a mistake: an entry must outlive the time between two jobs.
const SHORTEST: Duration = Duration::from_secs(60);

impl Check<'_> {
    pub(super) fn actions_cache(&mut self, config: &Config) {
        let (at, cache) = (At::root().key("actions_cache"), &config.actions_cache);
        if cache.max_repository_mib > cache.max_size_mib && cache.max_size_mib > 0 {
            let (own, all) = (cache.max_repository_mib, cache.max_size_mib);
            // Where it is said: one of the two may be the default.
            let keys = ["max_repository_mib", "max_size_mib"].map(|key| at.key(key));
            let [first, second] = if self.find(&["actions_cache", "max_repository_mib"]).is_some() {
                keys
            } else {
                let [repository, size] = keys;
                [size, repository]
            };
            self.error(
                &first,
                &[&second],
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
        let has_users = config.forges().iter().any(|(_, forge)| !matches!(forge, ForgeRef::Github(_)))
            || config.pools().iter().any(|pool| pool.scale_set().is_some());
        if cache.enabled && !has_users {
            self.warn(
                &at.key("enabled"),
                "no job will use the cache: only jobs of a Gitea, of a Forgejo, and of GitHub's scale sets do",
                "remove it, or configure 'gitea' or 'forgejo', or write 'runner: {scale_set: true}' in a pool of GitHub",
            );
        }
    }
}
