//! A simulated host: machines boot, fail, take jobs and go as the plan says, step by step.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeMap;
use std::time::Duration;

use fireactions_model::{Demand, ImageRef, MachineId, MachineState, PoolName, Shape};
use fireactions_pool::{Action, Budget, Machine, Observed, Pace, Plan, Pool, plan};

pub(crate) const STEP: Duration = Duration::from_secs(10);
pub(crate) const SURPLUS_AFTER: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) seen: Observed,
    next: u64,
}

pub(crate) fn shape(vcpus: u8, memory_mib: u32) -> Shape {
    Shape { image: ImageRef::new("debian").unwrap(), vcpus, memory_mib, disk_mib: 100 }
}

pub(crate) fn pool(name: &str, min: u32, max: u32, shape: Shape) -> Pool {
    Pool {
        name: PoolName::new(name).unwrap(),
        shape,
        min,
        max,
        paused: false,
        demand: Demand::new(),
        waited: BTreeMap::new(),
        pace: BTreeMap::new(),
        idle_deadline: Duration::ZERO,
    }
}

pub(crate) fn budget(vcpus: u32, memory_mib: u64) -> Budget {
    Budget { vcpus, memory_mib, machine_overhead_mib: 64 }
}

impl World {
    pub(crate) fn new(budget: Budget, pools: Vec<Pool>) -> Self {
        let seen = Observed {
            budget,
            drained: false,
            pools,
            machines: Vec::new(),
            surplus_after: SURPLUS_AFTER,
            patience: STEP * 3,
        };
        Self { seen, next: 0 }
    }

    pub(crate) fn count(&self, pool: usize, wanted: impl Fn(&Machine) -> bool) -> usize {
        let name = &self.seen.pools[pool].name;
        self.seen.machines.iter().filter(|machine| machine.pool == *name && wanted(machine)).count()
    }

    pub(crate) fn demand(&mut self, pool: usize, shape: &Shape, jobs: u32) {
        *self.seen.pools[pool].demand.entry(shape.clone()).or_insert(0) += jobs;
    }

    pub(crate) fn waiting(&self) -> u32 {
        self.seen.pools.iter().flat_map(|pool| pool.demand.values()).sum()
    }

    /// Time goes on, and nothing else.
    pub(crate) fn wait(&mut self, time: Duration) {
        for waited in self.seen.pools.iter_mut().flat_map(|pool| pool.waited.values_mut()) {
            *waited += time;
        }
        for machine in &mut self.seen.machines {
            machine.in_state += time;
            machine.age += time;
        }
    }

    pub(crate) fn enter(machine: &mut Machine, state: MachineState) {
        machine.state = state;
        machine.in_state = Duration::ZERO;
    }

    /// Every machine gets one state further; the stopping ones go.
    pub(crate) fn advance(&mut self) {
        self.seen.machines.retain(|machine| machine.state != MachineState::Stopping);
        for machine in &mut self.seen.machines {
            match machine.state {
                MachineState::Creating => Self::enter(machine, MachineState::Booting),
                MachineState::Booting => Self::enter(machine, MachineState::Ready),
                MachineState::Starting => Self::enter(machine, MachineState::Busy),
                _ => {}
            }
        }
    }

    /// Ready machines take the jobs that fit them.
    pub(crate) fn assign(&mut self) -> u32 {
        let mut taken = 0;
        for machine in &mut self.seen.machines {
            let Some(pool) = self.seen.pools.iter_mut().find(|pool| pool.name == machine.pool) else {
                continue;
            };
            if machine.state == MachineState::Ready
                && let Some(jobs) = pool.demand.get_mut(&machine.shape)
                && *jobs > 0
            {
                *jobs -= 1;
                taken += 1;
                Self::enter(machine, MachineState::Starting);
            }
        }
        for pool in &mut self.seen.pools {
            pool.demand.retain(|_, jobs| *jobs > 0);
        }
        taken
    }

    /// The `index`th machine that fulfils a condition goes to another state.
    pub(crate) fn change(&mut self, index: usize, from: impl Fn(MachineState) -> bool, to: MachineState) {
        let mut fitting: Vec<_> =
            self.seen.machines.iter_mut().filter(|machine| from(machine.state)).collect();
        if !fitting.is_empty() {
            let index = index % fitting.len();
            Self::enter(fitting[index], to);
        }
    }

    /// Plans, checks what must hold for every plan, and does it.
    pub(crate) fn act(&mut self) -> Plan {
        let plan = plan(&self.seen);
        self.check_lines(&plan);
        for pool in &mut self.seen.pools {
            let before = std::mem::take(&mut pool.waited);
            for (_, shape) in plan.hungry.iter().filter(|(name, _)| *name == pool.name) {
                pool.waited.insert(shape.clone(), before.get(shape).copied().unwrap_or_default());
            }
        }
        let mut gone = Vec::new();
        for action in &plan.actions {
            match action {
                Action::Create { pool, shape } => self.create(pool, shape),
                Action::Retire { machine, .. } => {
                    assert!(!gone.contains(machine), "retired twice: {plan:?}");
                    gone.push(machine.clone());
                    let found = self.seen.machines.iter_mut().find(|other| other.id == *machine);
                    let found = found.expect("retires a machine that exists");
                    assert!(found.state.is_idle_capacity(), "retires {:?}: {plan:?}", found.state);
                    Self::enter(found, MachineState::Stopping);
                }
            }
        }
        plan
    }

    /// What is told to waiting jobs: machines that they can have, and an obstacle where there are too few.
    fn check_lines(&self, plan: &Plan) {
        let held = self.seen.machines.iter().filter(|machine| machine.state == MachineState::Held).count();
        assert_eq!(plan.held.machines as usize, held);
        for pool in &self.seen.pools {
            let lines = plan.lines.get(&pool.name);
            assert!(
                lines.is_none() || !(self.seen.drained || pool.paused),
                "a closed pool promises something"
            );
            for (shape, line) in lines.into_iter().flatten() {
                for id in &line.coming {
                    let machine = self.seen.machines.iter().find(|machine| machine.id == *id).unwrap();
                    assert!(
                        machine.state.is_idle_capacity() && machine.shape == *shape,
                        "{machine:?} is promised"
                    );
                    let leaves =
                        |action: &Action| matches!(action, Action::Retire { machine, .. } if machine == id);
                    assert!(!plan.actions.iter().any(leaves), "{machine:?} is promised and retired");
                }
                let begun = Action::Create { pool: pool.name.clone(), shape: shape.clone() };
                let begun = plan.actions.iter().filter(|action| **action == begun).count();
                let wanted = pool.demand.get(shape).copied().unwrap_or(0) as usize;
                let told = line.obstacle.is_some() || line.coming.len() + begun >= wanted;
                assert!(told, "jobs wait and nobody knows why: {line:?}");
            }
        }
    }

    fn create(&mut self, name: &PoolName, shape: &Shape) {
        let pool =
            self.seen.pools.iter().find(|pool| pool.name == *name).expect("creates for a pool that exists");
        let mine = || {
            let own = |machine: &&Machine| machine.pool == *name && machine.state != MachineState::Held;
            self.seen.machines.iter().filter(own)
        };
        assert!(!self.seen.drained, "creates on a drained host");
        assert!(!pool.paused, "creates for a paused pool");
        assert!(mine().count() < pool.max as usize, "creates above the maximum");
        assert!(*shape == pool.shape || pool.demand.contains_key(shape), "creates a shape nobody wants");
        match pool.pace.get(shape).copied().unwrap_or_default() {
            Pace::Free => {}
            Pace::One => {
                let starting = |state| matches!(state, MachineState::Creating | MachineState::Booting);
                let another = mine().any(|machine| machine.shape == *shape && starting(machine.state));
                assert!(!another, "creates a second one while failing");
            }
            Pace::Hold => panic!("creates while held back"),
        }
        let mut id = [0; 8];
        id.copy_from_slice(&self.next.to_le_bytes());
        self.next += 1;
        self.seen.machines.push(Machine {
            id: MachineId::from_random(id),
            pool: name.clone(),
            shape: shape.clone(),
            state: MachineState::Creating,
            in_state: Duration::ZERO,
            age: Duration::ZERO,
        });
        assert!(self.fits(), "creates beyond the host's budget");
    }

    fn fits(&self) -> bool {
        let budget = self.seen.budget;
        let vcpus: u32 = self.seen.machines.iter().map(|machine| u32::from(machine.shape.vcpus)).sum();
        let memory: u64 =
            self.seen.machines.iter().map(|machine| u64::from(machine.shape.memory_mib) + 64).sum();
        vcpus <= budget.vcpus && memory <= budget.memory_mib
    }

    /// Whether one more machine of this shape would fit beside all others.
    pub(crate) fn has_room(&self, shape: &Shape) -> bool {
        let budget = self.seen.budget;
        let vcpus: u32 = self.seen.machines.iter().map(|machine| u32::from(machine.shape.vcpus)).sum();
        let memory: u64 =
            self.seen.machines.iter().map(|machine| u64::from(machine.shape.memory_mib) + 64).sum();
        vcpus + u32::from(shape.vcpus) <= budget.vcpus
            && memory + u64::from(shape.memory_mib) + 64 <= budget.memory_mib
    }

    /// Idle machines of the pool's own shape beyond the waiting jobs.
    pub(crate) fn warm(&self, pool: usize) -> u32 {
        let own = &self.seen.pools[pool];
        let idle = self.count(pool, |machine| machine.state.is_idle_capacity() && machine.shape == own.shape);
        u32::try_from(idle).unwrap().saturating_sub(own.demand.get(&own.shape).copied().unwrap_or(0))
    }

    /// Acts and lets machines advance, without any new event, until nothing is done any more.
    pub(crate) fn settle(&mut self, most: usize) -> usize {
        for step in 0..most {
            let acted = !self.act().actions.is_empty();
            let moving = self.seen.machines.iter().any(|machine| {
                matches!(
                    machine.state,
                    MachineState::Creating | MachineState::Booting | MachineState::Stopping
                )
            });
            let young = self.seen.machines.iter().any(|machine| machine.in_state < SURPLUS_AFTER);
            self.advance();
            self.wait(STEP);
            if !acted && !moving && !young {
                return step;
            }
        }
        panic!("still acting after {most} steps: {:#?}", plan(&self.seen));
    }
}
