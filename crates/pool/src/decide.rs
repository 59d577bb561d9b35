//! The decision. Rules, in their order:
//!
//! 1. Idle machines of paused and removed pools go, and idle machines above a pool's maximum. On a drained host
//!    every pool counts as paused.
//! 2. Waiting jobs get machines, one at a time, each time the pool with the lowest share of the host (within a
//!    pool: the shape with the fewest machines). Jobs that waited longer than the patience come first. A job
//!    that does not fit keeps its place: who comes later only gets what is left beside it. Both together keep
//!    large machines from being starved by small ones.
//! 3. Where a job does not fit even once the stopping machines are gone, spare idle machines go, first those of
//!    the pool with the highest share. Jobs are worth more than warmth; warmth never displaces warmth.
//! 4. What is left warms the pools up to their minimum, again the lowest share first.
//! 5. Ready machines past their idle deadline go once fresh ones have taken their place.
//! 6. Ready machines that nobody needed for a while go, down to the minimum.
//!
//! Machines with a job are never candidates, nor are held ones, which hold their place on the host but none in
//! their pool. Stopping machines serve nobody, but hold their place on the host
//! and in the pool until they are gone.

use std::cmp::Reverse;
use std::collections::HashSet;

use std::time::Duration;

use fireactions_model::{MachineId, MachineState, Shape};

use crate::budget::Size;
use crate::demand::match_up;
use crate::room::{HostRoom, PoolRoom, count, retire_order};
use crate::{Action, Held, Machine, Observed, Obstacle, Pace, Plan, Why};

/// What to do about what is observed.
pub fn decide(observed: &Observed) -> Vec<Action> {
    plan(observed).actions
}

/// What to do, and what stands in the way of the rest.
pub fn plan(observed: &Observed) -> Plan {
    let mut planner = Planner {
        observed,
        host: HostRoom::new(observed),
        pools: observed.pools.iter().map(|pool| match_up(observed, pool)).collect(),
        plan: Plan::default(),
        leaving: HashSet::new(),
    };
    planner.close();
    planner.lower();
    planner.serve();
    planner.warm();
    planner.refresh();
    planner.shrink();
    planner.line_up();
    planner.plan.held = held(observed);
    if !observed.drained {
        planner.plan.spare = planner.host.now.spare(&observed.budget);
    }
    planner.plan
}

fn held(observed: &Observed) -> Held {
    let held = observed.machines.iter().filter(|machine| machine.state == MachineState::Held);
    held.fold(Held::default(), |sum, machine| Held {
        machines: sum.machines.saturating_add(1),
        memory_mib: sum.memory_mib.saturating_add(observed.budget.memory_of(&machine.shape)),
    })
}

struct Planner<'a> {
    observed: &'a Observed,
    host: HostRoom,
    pools: Vec<PoolRoom<'a>>,
    plan: Plan,
    leaving: HashSet<&'a MachineId>,
}

impl<'a> Planner<'a> {
    fn retire(&mut self, machine: &'a Machine, why: Why) {
        if self.leaving.insert(&machine.id) {
            self.plan.actions.push(Action::Retire { machine: machine.id.clone(), why });
            self.host.soon = self.host.soon.plus(self.observed.budget.need(&machine.shape));
            if let Some(pool) = self.pools.iter_mut().find(|room| room.pool.name == machine.pool) {
                pool.soon = pool.soon.saturating_sub(1);
                pool.spare.retain(|spare| spare.id != machine.id);
            }
        }
    }

    fn create(&mut self, index: usize, shape: &Shape) {
        let need = self.observed.budget.need(shape);
        self.host.take(need);
        let room = &mut self.pools[index];
        room.now += 1;
        room.soon += 1;
        room.begun += 1;
        if let Some(starts) = room.starts.get_mut(shape) {
            *starts = starts.saturating_sub(1);
        }
        room.used = room.used.plus(need);
        let pool = room.pool.name.clone();
        self.plan.actions.push(Action::Create { pool, shape: shape.clone() });
    }

    /// Notes why a pool waits; the first reason of the enum's order stays.
    fn wait(&mut self, index: usize, why: Obstacle) {
        let name = self.pools[index].pool.name.clone();
        self.plan.obstacles.entry(name).and_modify(|known| *known = (*known).min(why)).or_insert(why);
    }

    /// Notes why the waiting jobs of a shape get no more machines, and leaves them out of the rest of the plan.
    fn stand_back(&mut self, index: usize, shape: &Shape, why: Obstacle) {
        for unmet in self.pools[index].unmet.iter_mut().filter(|unmet| unmet.shape == shape) {
            unmet.jobs = 0;
        }
        self.hold_up(index, shape, why);
    }

    /// Notes why a waiting job gets no machine in this plan.
    fn hold_up(&mut self, index: usize, shape: &Shape, why: Obstacle) {
        self.wait(index, why);
        let name = self.pools[index].pool.name.clone();
        let line = self.plan.lines.entry(name).or_default().entry(shape.clone()).or_default();
        line.obstacle = Some(line.obstacle.map_or(why, |known| known.min(why)));
    }

    /// Rule 1, closed pools.
    fn close(&mut self) {
        let observed = self.observed;
        let open: HashSet<_> =
            observed.pools.iter().filter(|pool| observed.is_open(pool)).map(|pool| &pool.name).collect();
        let why = if observed.drained { Why::HostDrained } else { Why::PoolClosed };
        for machine in &observed.machines {
            if machine.state.is_idle_capacity() && !open.contains(&machine.pool) {
                self.retire(machine, why);
            }
        }
    }

    /// Rule 1, lowered maximum. Here even machines that jobs wait for go: the maximum is a promise.
    fn lower(&mut self) {
        for index in 0..self.pools.len() {
            let room = &self.pools[index];
            let excess = room.soon.saturating_sub(room.pool.max);
            let name = &room.pool.name;
            let mut idle: Vec<&Machine> = self
                .observed
                .machines
                .iter()
                .filter(|machine| machine.pool == *name && machine.state.is_idle_capacity())
                .collect();
            idle.sort_by(|one, two| retire_order(one).cmp(&retire_order(two)));
            for machine in idle.into_iter().take(usize::try_from(excess).unwrap_or(usize::MAX)) {
                self.retire(machine, Why::AboveMaximum);
                let pool = self.pools[index].pool;
                if self.observed.is_open(pool) && pool.demand.contains_key(&machine.shape) {
                    self.hold_up(index, &machine.shape, Obstacle::Maximum);
                }
            }
        }
    }

    /// Rules 2 and 3.
    fn serve(&mut self) {
        let mut done = vec![false; self.pools.len()];
        let wanted: Vec<(usize, &Shape)> = (self.pools.iter().enumerate())
            .flat_map(|(index, room)| room.unmet.iter().map(move |unmet| (index, unmet.shape)))
            .filter(|(index, shape)| self.pools[*index].pool.pace_of(shape) == Pace::Free)
            .collect();
        while let Some(index) = self.neediest(|index, room| !done[index] && !room.unmet.is_empty()) {
            done[index] = !self.serve_one(index);
        }
        for (index, shape) in wanted {
            let name = &self.pools[index].pool.name;
            let served = Action::Create { pool: name.clone(), shape: shape.clone() };
            if !self.plan.actions.contains(&served) {
                self.plan.hungry.push((name.clone(), shape.clone()));
            }
        }
    }

    /// Of the pools that fulfil a condition, the one whose jobs are overdue, or else the one with the lowest
    /// share; of equals, the first of the configuration.
    fn neediest(&self, condition: impl Fn(usize, &PoolRoom<'_>) -> bool) -> Option<usize> {
        (0..self.pools.len()).filter(|index| condition(*index, &self.pools[*index])).min_by_key(|index| {
            let room = &self.pools[*index];
            (Reverse(room.overdue(self.observed.patience)), self.observed.budget.share(room.used))
        })
    }

    /// Serves one job of a pool. False if this plan can do nothing more for the pool.
    fn serve_one(&mut self, index: usize) -> bool {
        let patience = self.observed.patience;
        let unmet = &mut self.pools[index].unmet;
        unmet.retain(|unmet| unmet.jobs > 0);
        let Some(next) =
            unmet.iter_mut().min_by_key(|unmet| (Reverse(unmet.waited.max(patience)), unmet.machines))
        else {
            return false;
        };
        let shape = next.shape;
        next.jobs -= 1;
        next.machines += 1;
        // One machine ends the wait; the rest of these jobs stand in line like all others.
        next.waited = Duration::ZERO;
        let need = self.observed.budget.need(shape);
        if !self.observed.budget.total().holds(need) {
            self.stand_back(index, shape, Obstacle::TooLarge);
            return true;
        }
        let room = &self.pools[index];
        if !room.may_start(shape) {
            // Also a shape that goes on one at a time reaches this after its one.
            self.stand_back(index, shape, Obstacle::Backoff);
            return true;
        }
        if !room.below_max_soon() && !self.make_room_in(index) {
            self.stand_back(index, shape, Obstacle::Maximum);
            return true;
        }
        if !self.host.soon.holds(need) {
            self.make_room_for(need);
        }
        if self.pools[index].below_max_now() && self.host.now.holds(need) {
            self.create(index, shape);
            return true;
        }
        // Its place is kept until there is room. A pool that only waits for its own stopping machines will get
        // their place and takes nobody else's.
        if self.pools[index].below_max_now() {
            self.hold_up(index, shape, Obstacle::HostFull);
            self.host.take(need);
        } else {
            self.hold_up(index, shape, Obstacle::Maximum);
            self.host.soon = self.host.soon.minus(need);
        }
        let room = &mut self.pools[index];
        room.soon += 1;
        room.used = room.used.plus(need);
        true
    }

    /// Makes room below a pool's maximum by a spare machine of its own (of another shape, or it would serve).
    fn make_room_in(&mut self, index: usize) -> bool {
        let Some(victim) = self.pools[index].spare.first().copied() else { return false };
        self.retire(victim, Why::RoomForJob);
        true
    }

    /// Makes room on the host with spare machines, if there are enough of them; otherwise none goes.
    fn make_room_for(&mut self, need: Size) {
        let budget = self.observed.budget;
        let mut victims = Vec::new();
        let mut room = self.host.soon;
        let mut order: Vec<&PoolRoom<'a>> = self.pools.iter().collect();
        order.sort_by_key(|pool| Reverse(budget.share(pool.used)));
        for machine in order.iter().flat_map(|pool| pool.spare.iter().copied()) {
            if room.holds(need) {
                break;
            }
            room = room.plus(budget.need(&machine.shape));
            victims.push(machine);
        }
        if room.holds(need) {
            for machine in victims {
                self.retire(machine, Why::RoomForJob);
            }
        }
    }

    /// Rule 4.
    fn warm(&mut self) {
        let mut warming = vec![0_u32; self.pools.len()];
        let mut done = vec![false; self.pools.len()];
        while let Some(index) = self.neediest(|index, room| {
            !done[index]
                && self.observed.is_open(room.pool)
                && room.warm().saturating_add(warming[index]) < room.pool.min
        }) {
            let room = &self.pools[index];
            let shape = &room.pool.shape;
            let need = self.observed.budget.need(shape);
            let obstacle = if !self.observed.budget.total().holds(need) {
                Some(Obstacle::TooLarge)
            } else if !room.may_start(shape) {
                Some(Obstacle::Backoff)
            } else if !room.below_max_now() {
                // At its maximum with working machines a pool has all it asked for.
                None
            } else if self.host.now.holds(need) {
                warming[index] += 1;
                self.create(index, shape);
                continue;
            } else {
                Some(Obstacle::HostFull)
            };
            done[index] = true;
            if let Some(why) = obstacle {
                self.wait(index, why);
            }
        }
    }

    /// Rule 5. Where a fresh machine has no room beside the old one, the old one goes first; one at a time.
    fn refresh(&mut self) {
        for index in 0..self.pools.len() {
            let room = &self.pools[index];
            let ready = |machine: &&&Machine| machine.state == MachineState::Ready && !room.is_stale(machine);
            let fresh = count(room.spare.iter().filter(ready));
            let crowded =
                !room.below_max_now() || !self.host.now.holds(self.observed.budget.need(&room.pool.shape));
            let changing = room.begun > 0
                || room.now != room.soon
                || room.spare.iter().any(|machine| machine.state != MachineState::Ready);
            let stale: Vec<&Machine> =
                room.spare.iter().copied().filter(|machine| room.is_stale(machine)).collect();
            let leaving = if fresh >= room.pool.min {
                stale.len()
            } else {
                usize::from(crowded && !changing && room.pool.pace_of(&room.pool.shape) == Pace::Free)
            };
            for machine in stale.into_iter().take(leaving) {
                self.retire(machine, Why::IdleDeadline);
            }
        }
    }

    /// Rule 6.
    fn shrink(&mut self) {
        let mut soonest: Option<Duration> = None;
        for index in 0..self.pools.len() {
            let room = &self.pools[index];
            let own = count(room.spare.iter().filter(|machine| machine.shape == room.pool.shape));
            let mut surplus = own.saturating_sub(room.pool.min);
            let mut leaving = Vec::new();
            // The surplus are the newest machines, not the ones that waited longest: as long as the newest came
            // only lately, nothing was surplus for long.
            for machine in &room.spare {
                if machine.shape == room.pool.shape {
                    if surplus == 0 {
                        continue;
                    }
                    surplus -= 1;
                }
                if machine.state == MachineState::Ready {
                    match self.observed.surplus_after.saturating_sub(machine.in_state) {
                        left if left.is_zero() => leaving.push(*machine),
                        left => soonest = Some(soonest.map_or(left, |known| known.min(left))),
                    }
                }
            }
            for machine in leaving {
                self.retire(machine, Why::Surplus);
            }
        }
        self.plan.surplus_in = soonest;
    }

    /// Says which idle machines will take which waiting jobs.
    fn line_up(&mut self) {
        for pool in self.observed.pools.iter().filter(|pool| self.observed.is_open(pool)) {
            for shape in pool.demand.keys() {
                let mut coming: Vec<&Machine> = (self.observed.machines.iter())
                    .filter(|machine| machine.state.is_idle_capacity() && !self.leaving.contains(&machine.id))
                    .filter(|machine| machine.pool == pool.name && machine.shape == *shape)
                    .collect();
                coming.sort_by(|one, two| retire_order(two).cmp(&retire_order(one)));
                let lines = self.plan.lines.entry(pool.name.clone()).or_default();
                lines.entry(shape.clone()).or_default().coming =
                    coming.into_iter().map(|machine| machine.id.clone()).collect();
            }
        }
    }
}
