//! Which pool is to serve which waiting job.

use std::collections::HashMap;

use fireactions_model::{PoolName, PoolSpec};

use super::queue::{Waiting, Wants};

/// Places each job in the smallest pool that has all its labels: of those the one with the fewest labels, the first
/// configured among equals. One that may have no machines comes last: it may be scaled. A pool whose runners are all at
/// work hands on to the next that will do; where all are, the job waits for the smallest. `fits` says whether a pool's
/// runners would be given a job, `room` for how many more jobs a pool has runners or may have some.
///
/// Thousands of jobs may wait, and most want what others want, so `fits` is asked once for all of those.
pub(super) fn place<'a>(
    pools: impl Iterator<Item = &'a PoolSpec>,
    waiting: impl Iterator<Item = &'a Waiting>,
    fits: impl Fn(&PoolSpec, &Wants<'_>) -> bool,
    room: impl Fn(&PoolSpec) -> u32,
) -> HashMap<PoolName, Vec<u64>> {
    let mut pools: Vec<&PoolSpec> = pools.collect();
    pools.sort_by_key(|pool| (pool.max_runners == 0, pool.labels.len()));
    let mut room: Vec<u32> = pools.iter().map(|pool| room(pool)).collect();
    let mut fitting: HashMap<Wants<'_>, Vec<usize>> = HashMap::new();
    let mut placed: Vec<Vec<u64>> = vec![Vec::new(); pools.len()];
    for job in waiting {
        let fitting = fitting.entry(job.wants()).or_insert_with_key(|wants| {
            (0..pools.len()).filter(|index| fits(pools[*index], wants)).collect()
        });
        let has_room = fitting.iter().find(|index| room[**index] > 0);
        let Some(index) = has_room.or_else(|| fitting.first()).copied() else { continue };
        room[index] = room[index].saturating_sub(1);
        placed[index].push(job.id);
    }
    let placed = pools.iter().zip(placed).filter(|(_, jobs)| !jobs.is_empty());
    placed.map(|(pool, jobs)| (pool.name.clone(), jobs)).collect()
}
