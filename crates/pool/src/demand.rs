//! Which idle machines wait for which jobs.

use std::collections::BTreeMap;

use fireactions_model::{MachineState, Shape};

use crate::budget::Size;
use crate::room::{PoolRoom, Unmet, count, retire_order};
use crate::{Machine, Observed, Pace, Pool};

/// Lays a pool's idle machines over its waiting jobs. The most advanced machines are meant for jobs, so that
/// the spare ones are the ones that lose least.
pub(crate) fn match_up<'a>(observed: &'a Observed, pool: &'a Pool) -> PoolRoom<'a> {
    let open = observed.is_open(pool);
    let own = |machine: &&Machine| machine.pool == pool.name && machine.state != MachineState::Held;
    let mine: Vec<&Machine> = observed.machines.iter().filter(own).collect();
    let mut idle: BTreeMap<&Shape, Vec<&Machine>> = BTreeMap::new();
    for machine in mine.iter().filter(|machine| machine.state.is_idle_capacity()) {
        idle.entry(&machine.shape).or_default().push(machine);
    }
    let mut spare = Vec::new();
    let mut unmet = Vec::new();
    for (shape, jobs) in &pool.demand {
        let waiting = idle.get(shape).map_or(0, |machines| count(machines.iter()));
        let machines = count(mine.iter().filter(|machine| machine.shape == *shape));
        if *jobs > waiting && open {
            let waited = pool.waited.get(shape).copied().unwrap_or_default();
            unmet.push(Unmet { shape, jobs: jobs - waiting, machines, waited });
        }
    }
    for (shape, mut machines) in idle {
        machines.sort_by_key(|machine| retire_order(machine));
        let jobs = if open { pool.demand.get(shape).copied().unwrap_or(0) } else { 0 };
        let needed = usize::try_from(jobs).unwrap_or(usize::MAX).min(machines.len());
        machines.truncate(machines.len() - needed);
        spare.extend(machines);
    }
    spare.sort_by_key(|machine| retire_order(machine));
    let now = count(mine.iter());
    let stopping = count(mine.iter().filter(|machine| machine.state == MachineState::Stopping));
    let starting = |shape: &Shape| {
        let begun = |state| matches!(state, MachineState::Creating | MachineState::Booting);
        mine.iter().any(|machine| machine.shape == *shape && begun(machine.state))
    };
    let starts = pool.pace.iter().filter_map(|(shape, pace)| match pace {
        Pace::Free => None,
        Pace::One => Some((shape, u32::from(!starting(shape)))),
        Pace::Hold => Some((shape, 0)),
    });
    let starts = starts.collect();
    PoolRoom {
        pool,
        now,
        soon: now - stopping,
        used: mine
            .iter()
            .fold(Size::default(), |sum, machine| sum.plus(observed.budget.need(&machine.shape))),
        begun: 0,
        starts,
        spare,
        unmet,
    }
}
