//! Single decisions, each a rule with an example.

use std::time::Duration;

use crate::world::{STEP, SURPLUS_AFTER, World, budget, pool, shape};
use fireactions_model::{MachineState, PoolName};
use fireactions_pool::{Action, Obstacle, Pace, Why};

fn creates(actions: &[Action]) -> Vec<&str> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Create { pool, .. } => Some(pool.as_str()),
            Action::Retire { .. } => None,
        })
        .collect()
}

fn reasons(actions: &[Action]) -> Vec<Why> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Retire { why, .. } => Some(*why),
            Action::Create { .. } => None,
        })
        .collect()
}

#[test]
fn warms_up_and_serves_jobs_on_top() {
    let small = shape(1, 512);
    let mut world = World::new(budget(16, 16_000), vec![pool("a", 2, 10, small.clone())]);
    assert_eq!(creates(&world.act().actions).len(), 2);
    world.settle(50);
    world.demand(0, &small, 3);
    assert_eq!(creates(&world.act().actions).len(), 3, "two warm ones take jobs, and are replaced");
}

#[test]
fn pools_share_a_short_budget_evenly() {
    let small = shape(1, 512);
    let pools = vec![pool("a", 0, 20, small.clone()), pool("b", 0, 20, small.clone())];
    let mut world = World::new(budget(6, 64_000), pools);
    world.demand(0, &small, 20);
    world.demand(1, &small, 20);
    let plan = world.act();
    let made = creates(&plan.actions);
    assert_eq!(made.iter().filter(|name| **name == "a").count(), 3);
    assert_eq!(made.iter().filter(|name| **name == "b").count(), 3);
    assert_eq!(plan.obstacles[&PoolName::new("a").unwrap()], Obstacle::HostFull);
}

#[test]
fn a_large_job_is_not_starved_by_small_ones() {
    let (small, large) = (shape(1, 512), shape(8, 512));
    let pools = vec![pool("small", 0, 20, small.clone()), pool("large", 0, 20, large.clone())];
    let mut world = World::new(budget(8, 64_000), pools);
    world.demand(0, &small, 100);
    for _ in 0..3 {
        world.act();
        world.advance();
        world.assign();
    }
    world.demand(1, &large, 1);
    for step in 0..60 {
        world.act();
        world.wait(STEP);
        world.advance();
        world.assign();
        if world.count(1, |machine| machine.state.is_busy()) == 1 {
            return;
        }
        world.change(step, |state| state == MachineState::Busy, MachineState::Stopping);
    }
    panic!("the large job never ran");
}

#[test]
fn warm_machines_make_room_for_jobs_of_other_pools() {
    let small = shape(1, 512);
    let pools = vec![pool("warm", 4, 4, small.clone()), pool("jobs", 0, 4, small.clone())];
    let mut world = World::new(budget(4, 64_000), pools);
    world.settle(50);
    world.demand(1, &small, 1);
    assert_eq!(reasons(&world.act().actions), [Why::RoomForJob]);
    assert_eq!(world.act().actions, [], "the stopping machine's room is enough");
    world.advance();
    assert_eq!(creates(&world.act().actions), ["jobs"]);
    world.settle(50);
    assert_eq!(world.act().actions, [], "warmth does not displace the job's machine");
}

#[test]
fn nothing_makes_room_for_what_cannot_fit() {
    let (small, huge) = (shape(1, 512), shape(16, 512));
    let pools = vec![pool("warm", 4, 4, small), pool("jobs", 0, 4, huge.clone())];
    let mut world = World::new(budget(4, 64_000), pools);
    world.settle(50);
    world.demand(1, &huge, 1);
    let plan = world.act();
    assert_eq!(plan.actions, []);
    assert_eq!(plan.obstacles[&PoolName::new("jobs").unwrap()], Obstacle::TooLarge);
}

#[test]
fn another_shape_takes_a_warm_machines_place_in_a_full_pool() {
    let (own, other) = (shape(1, 512), shape(2, 1024));
    let mut world = World::new(budget(64, 64_000), vec![pool("a", 2, 2, own.clone())]);
    world.settle(50);
    world.demand(0, &other, 1);
    assert_eq!(reasons(&world.act().actions), [Why::RoomForJob]);
    world.advance();
    let plan = world.act();
    assert!(matches!(&plan.actions[..], [Action::Create { shape, .. }] if *shape == other), "{plan:?}");
}

#[test]
fn a_failed_machine_is_not_capacity_but_holds_its_place() {
    let small = shape(1, 512);
    let mut world = World::new(budget(1, 64_000), vec![pool("a", 0, 4, small.clone())]);
    world.demand(0, &small, 1);
    world.act();
    world.change(0, |_| true, MachineState::Stopping);
    let plan = world.act();
    assert_eq!(plan.actions, []);
    assert_eq!(plan.obstacles[&PoolName::new("a").unwrap()], Obstacle::HostFull);
    world.advance();
    assert_eq!(creates(&world.act().actions), ["a"]);
}

#[test]
fn a_failing_pool_waits_then_tries_one() {
    let small = shape(1, 512);
    let mut world = World::new(budget(64, 64_000), vec![pool("a", 4, 8, small.clone())]);
    world.seen.pools[0].pace.insert(small.clone(), Pace::Hold);
    let plan = world.act();
    assert_eq!((plan.actions.len(), plan.obstacles.values().next()), (0, Some(&Obstacle::Backoff)));
    world.seen.pools[0].pace.insert(small.clone(), Pace::One);
    assert_eq!(world.act().actions.len(), 1);
    assert_eq!(world.act().actions.len(), 0);
    world.seen.pools[0].pace.clear();
    assert_eq!(world.act().actions.len(), 3);
}

#[test]
fn a_paused_pool_empties_but_its_jobs_end() {
    let small = shape(1, 512);
    let mut world = World::new(budget(64, 64_000), vec![pool("a", 3, 8, small.clone())]);
    world.demand(0, &small, 1);
    world.settle(50);
    world.assign();
    world.seen.pools[0].paused = true;
    assert_eq!(reasons(&world.act().actions), [Why::PoolClosed; 3]);
    assert_eq!(world.count(0, |machine| machine.state.is_busy()), 1);
}

#[test]
fn machines_of_a_pool_that_is_gone_go_when_idle() {
    let small = shape(1, 512);
    let mut world = World::new(budget(64, 64_000), vec![pool("a", 2, 8, small)]);
    world.settle(50);
    world.change(0, |_| true, MachineState::Busy);
    world.seen.pools.clear();
    assert_eq!(reasons(&world.act().actions), [Why::PoolClosed]);
}

#[test]
fn a_lowered_maximum_takes_idle_machines_only() {
    let small = shape(1, 512);
    let mut world = World::new(budget(64, 64_000), vec![pool("a", 4, 8, small)]);
    world.settle(50);
    world.change(0, |_| true, MachineState::Busy);
    world.seen.pools[0].min = 0;
    world.seen.pools[0].max = 0;
    assert_eq!(reasons(&world.act().actions), [Why::AboveMaximum; 3]);
    assert_eq!(world.count(0, |machine| machine.state.is_busy()), 1);
}

#[test]
fn surplus_goes_after_a_while_newest_first() {
    let small = shape(1, 512);
    let mut world = World::new(budget(64, 64_000), vec![pool("a", 1, 8, small.clone())]);
    world.settle(50);
    world.demand(0, &small, 2);
    world.act();
    world.advance();
    world.advance();
    assert_eq!(world.act().surplus_in, None, "all are needed");
    world.seen.pools[0].demand.clear();
    let plan = world.act();
    assert_eq!((plan.actions, plan.surplus_in), (vec![], Some(SURPLUS_AFTER)));
    world.wait(SURPLUS_AFTER);
    let plan = world.act();
    assert_eq!((reasons(&plan.actions), plan.surplus_in), (vec![Why::Surplus; 2], None));
    let left: Vec<_> =
        world.seen.machines.iter().filter(|machine| machine.state == MachineState::Ready).collect();
    let oldest = world.seen.machines.iter().map(|machine| machine.age).max().unwrap();
    assert_eq!((left.len(), left[0].age), (1, oldest));
}

#[test]
fn an_old_idle_machine_goes_once_a_fresh_one_is_ready() {
    let small = shape(1, 512);
    let mut world = World::new(budget(64, 64_000), vec![pool("a", 1, 2, small)]);
    world.settle(50);
    world.seen.pools[0].idle_deadline = Duration::from_secs(3600);
    world.wait(Duration::from_secs(3600));
    assert_eq!(creates(&world.act().actions), ["a"]);
    assert_eq!(world.act().actions, [], "the fresh one is not ready yet");
    world.advance();
    world.advance();
    assert_eq!(reasons(&world.act().actions), [Why::IdleDeadline]);
    world.advance();
    assert_eq!(world.act().actions, []);
}

#[test]
fn an_old_idle_machine_goes_first_where_there_is_no_room_beside_it() {
    let small = shape(1, 512);
    let mut world = World::new(budget(64, 64_000), vec![pool("a", 2, 2, small)]);
    world.settle(50);
    world.seen.pools[0].idle_deadline = Duration::from_secs(3600);
    world.wait(Duration::from_secs(3600));
    assert_eq!(reasons(&world.act().actions), [Why::IdleDeadline], "one at a time");
    assert_eq!(world.act().actions, []);
    world.advance();
    assert_eq!(creates(&world.act().actions), ["a"]);
}

/// Small and large jobs that never end coming: both get their turn, in one pool and in two.
#[test]
fn nobody_starves_when_jobs_never_end() {
    let (small, large) = (shape(1, 512), shape(8, 512));
    for two_pools in [true, false] {
        for max in [1, 20] {
            let mut pools = vec![pool("a", 0, max, small.clone())];
            if two_pools {
                pools.push(pool("b", 0, max, large.clone()));
            }
            let large_pool = usize::from(two_pools);
            let mut world = World::new(budget(8, 64_000), pools);
            let mut served = [0, 0];
            for step in 0..400 {
                world.seen.pools[0].demand.insert(small.clone(), 30);
                world.seen.pools[large_pool].demand.insert(large.clone(), 30);
                world.act();
                world.wait(STEP);
                world.advance();
                world.assign();
                for (kind, wanted) in [&small, &large].into_iter().enumerate() {
                    let fresh = |machine: &&fireactions_pool::Machine| {
                        machine.shape == *wanted && machine.state == MachineState::Starting
                    };
                    served[kind] += world.seen.machines.iter().filter(fresh).count();
                }
                world.change(step, |state| state == MachineState::Busy, MachineState::Stopping);
            }
            assert!(served.iter().all(|jobs| *jobs >= 5), "two pools: {two_pools}, max {max}: {served:?}");
        }
    }
}
