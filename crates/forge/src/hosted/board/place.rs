//! Which pool is to serve which waiting job.

use std::collections::HashMap;

use fireactions_model::{PoolName, PoolSpec};

use super::queue::Waiting;

/// Places each job in the smallest pool that has all its labels: of those the one with the fewest labels, the first
/// configured among equals. One that may have no machines comes last: it may be scaled. A pool whose runners are all at
/// work hands on to the next that will do; where all are, the job waits for the smallest. `fits` says whether a pool's
/// runners would be given a job, `room` for how many more jobs a pool has runners or may have some.
pub(super) fn place<'a>(
    pools: impl Iterator<Item = &'a PoolSpec>,
    waiting: impl Iterator<Item = &'a Waiting>,
    fits: impl Fn(&PoolSpec, &Waiting) -> bool,
    room: impl Fn(&PoolSpec) -> u32,
) -> HashMap<PoolName, Vec<u64>> {
    let mut candidates: Vec<&PoolSpec> = pools.collect();
    candidates.sort_by_key(|pool| (pool.max_runners == 0, pool.labels.len()));
    let mut room: HashMap<&PoolName, u32> = candidates.iter().map(|pool| (&pool.name, room(pool))).collect();
    let mut placed: HashMap<PoolName, Vec<u64>> = HashMap::new();
    for job in waiting {
        let fitting = || candidates.iter().filter(|pool| fits(pool, job));
        let has_room = |pool: &&&PoolSpec| room.get(&pool.name).is_some_and(|left| *left > 0);
        let Some(pool) = fitting().find(has_room).or_else(|| fitting().next()) else { continue };
        if let Some(left) = room.get_mut(&pool.name) {
            *left = left.saturating_sub(1);
        }
        placed.entry(pool.name.clone()).or_default().push(job.id);
    }
    placed
}
