//! What every decision keeps, in worlds made at random.

use crate::world::{STEP, World, budget, pool, shape};
use fireactions_model::{MachineState, Shape};
use fireactions_pool::{Action, Pace, Pool, Why};
use proptest::prelude::*;

/// One thing that happens.
#[derive(Debug, Clone)]
enum Happening {
    Jobs { pool: usize, shape: usize, jobs: u32 },
    Advance,
    Assign,
    Finish(usize),
    Fail(usize),
    JobsVanish(usize),
    Pause(usize, bool),
    Scale(usize, u32, u32),
    Pace(usize, usize, u8),
    Hold(usize),
    Reap(usize),
    Drain(bool),
    Wait(u32),
}

fn shapes() -> Vec<Shape> {
    vec![shape(1, 512), shape(2, 1024), shape(4, 4096)]
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0..3_usize, 0..3_usize, 0..6_u32).prop_map(|(pool, shape, jobs)| Happening::Jobs { pool, shape, jobs }),
        6 => Just(Happening::Advance),
        4 => Just(Happening::Assign),
        4 => any::<usize>().prop_map(Happening::Finish),
        2 => any::<usize>().prop_map(Happening::Fail),
        1 => (0..3_usize).prop_map(Happening::JobsVanish),
        1 => (0..3_usize, any::<bool>()).prop_map(|(pool, paused)| Happening::Pause(pool, paused)),
        1 => (0..3_usize, 0..4_u32, 0..8_u32).prop_map(|(pool, min, max)| Happening::Scale(pool, min.min(max), max)),
        1 => (0..3_usize, 0..3_usize, 0..3_u8).prop_map(|(pool, shape, pace)| Happening::Pace(pool, shape, pace)),
        2 => any::<usize>().prop_map(Happening::Hold),
        1 => any::<usize>().prop_map(Happening::Reap),
        1 => any::<bool>().prop_map(Happening::Drain),
        2 => (1..30_u32).prop_map(Happening::Wait),
    ]
}

fn pools() -> impl Strategy<Value = Vec<Pool>> {
    let one = (0..4_u32, 0..8_u32, 0..3_usize);
    prop::collection::vec(one, 3).prop_map(|all| {
        let named = all.into_iter().zip(["a", "b", "c"]);
        named.map(|((min, max, own), name)| pool(name, min.min(max), max, shapes()[own].clone())).collect()
    })
}

fn worlds() -> impl Strategy<Value = World> {
    (pools(), 1..24_u32, 600..16_000_u64)
        .prop_map(|(pools, vcpus, memory)| World::new(budget(vcpus, memory), pools))
}

fn happen(world: &mut World, what: &Happening) {
    match what {
        Happening::Jobs { pool, shape, jobs } => world.demand(*pool, &shapes()[*shape], *jobs),
        Happening::Advance => {
            world.wait(STEP);
            world.advance();
        }
        Happening::Assign => {
            world.assign();
        }
        Happening::Finish(index) => world.change(*index, MachineState::is_busy, MachineState::Stopping),
        Happening::Fail(index) => world.change(*index, |_| true, MachineState::Stopping),
        Happening::JobsVanish(pool) => world.seen.pools[*pool].demand.clear(),
        Happening::Pause(pool, paused) => world.seen.pools[*pool].paused = *paused,
        Happening::Scale(pool, min, max) => {
            world.seen.pools[*pool].min = *min;
            world.seen.pools[*pool].max = *max;
        }
        Happening::Pace(pool, shape, pace) => {
            let pace = [Pace::Free, Pace::One, Pace::Hold][usize::from(*pace)];
            world.seen.pools[*pool].pace.insert(shapes()[*shape].clone(), pace);
        }
        Happening::Hold(index) => {
            world.change(*index, |state| state != MachineState::Stopping, MachineState::Held);
        }
        Happening::Reap(index) => {
            world.change(*index, |state| state == MachineState::Held, MachineState::Stopping);
        }
        Happening::Drain(drained) => world.seen.drained = *drained,
        Happening::Wait(steps) => world.wait(STEP * *steps),
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#?}", self.seen)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// `World::act` checks: never above the maximum or the budget, never a busy machine, never against a pause
    /// or a backoff. Here: demand that nobody changes ends all action, and leaves the pools as they should be.
    #[test]
    fn keeps_its_promises_and_settles(mut world in worlds(), story in prop::collection::vec(happening(), 0..60)) {
        for what in &story {
            happen(&mut world, what);
            let before: Vec<u32> = (0..3).map(|pool| world.warm(pool)).collect();
            let plan = world.act();
            for action in &plan.actions {
                let Action::Retire { machine, why: Why::Surplus } = action else { continue };
                let name = &world.seen.machines.iter().find(|other| other.id == *machine).unwrap().pool;
                let index = world.seen.pools.iter().position(|pool| pool.name == *name).unwrap();
                prop_assert!(world.warm(index) >= world.seen.pools[index].min.min(before[index]), "below the minimum");
            }
        }
        for pool in &mut world.seen.pools {
            pool.pace.clear();
        }
        world.settle(400);
        for _ in 0..20 {
            world.wait(STEP);
            prop_assert_eq!(world.act().actions, vec![]);
        }
        for index in 0..3 {
            let pool = &world.seen.pools[index];
            if pool.paused || world.seen.drained {
                prop_assert_eq!(world.count(index, |machine| machine.state.is_idle_capacity()), 0);
                continue;
            }
            let total = u32::try_from(world.count(index, |machine| machine.state != MachineState::Held)).unwrap();
            let jobs_wait = world.waiting() > 0;
            if world.warm(index) < pool.min && total < pool.max && !jobs_wait {
                prop_assert!(!world.has_room(&pool.shape), "pool {} is cold although there is room", pool.name);
            }
            for (wanted, jobs) in &pool.demand {
                let idle = world.count(index, |machine| machine.state.is_idle_capacity() && machine.shape == *wanted);
                if idle < *jobs as usize && total < pool.max && world.seen.pools.iter().all(|other| other.name == pool.name || other.demand.is_empty()) && pool.demand.len() == 1 {
                    prop_assert!(!world.has_room(wanted), "a job of {} waits although there is room", pool.name);
                }
            }
        }
    }

    /// With jobs that end and machines that sometimes fail, every job that fits the host and its pool runs.
    #[test]
    fn every_job_runs_in_the_end(mut world in worlds(), jobs in prop::collection::vec((0..3_usize, 0..3_usize, 1..5_u32), 1..6), failures in prop::collection::vec(any::<usize>(), 0..10)) {
        let big = shapes();
        for (pool, wanted, count) in jobs {
            let empty = World::new(world.seen.budget, Vec::new());
            if world.seen.pools[pool].max > 0 && empty.has_room(&big[wanted]) {
                world.demand(pool, &big[wanted], count);
            }
        }
        let mut failures = failures.into_iter();
        for step in 0..600 {
            if world.waiting() == 0 {
                return Ok(());
            }
            world.act();
            world.wait(STEP);
            world.advance();
            world.assign();
            if step % 7 == 0 && let Some(index) = failures.next() {
                world.change(index, MachineState::is_idle_capacity, MachineState::Stopping);
            }
            // Jobs take a while, and each a different one.
            world.change(step, |state| state == MachineState::Busy, MachineState::Stopping);
        }
        prop_assert!(false, "{} jobs never ran: {world:?}", world.waiting());
    }

    /// Demand that comes and goes faster than machines become surplus takes no machine down.
    #[test]
    fn does_not_oscillate(min in 0..3_u32, jobs in 1..5_u32, rounds in 1..30_usize) {
        let own = shape(1, 512);
        let mut world = World::new(budget(64, 64_000), vec![pool("a", min, 8, own.clone())]);
        let mut created = 0;
        for round in 0..rounds {
            world.seen.pools[0].demand.clear();
            if round % 2 == 0 {
                world.demand(0, &own, jobs);
            }
            for action in world.act().actions {
                match action {
                    Action::Create { .. } => created += 1,
                    Action::Retire { .. } => prop_assert!(false, "took a machine down in round {round}"),
                }
            }
            world.advance();
            world.wait(STEP / 10);
        }
        prop_assert_eq!(created, (min + jobs).min(8));
    }
}
