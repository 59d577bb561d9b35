//! How long queues have waited, the same way for every forge.

use std::collections::BTreeMap;

use fireactions_model::PoolName;
use jiff::Timestamp;

/// Of the jobs that wait, each with its pool, since when the first of each pool does.
pub(crate) fn oldest(waiting: impl Iterator<Item = (PoolName, Timestamp)>) -> BTreeMap<PoolName, Timestamp> {
    let mut oldest = BTreeMap::new();
    for (pool, since) in waiting {
        let first = oldest.entry(pool).or_insert(since);
        *first = since.min(*first);
    }
    oldest
}
