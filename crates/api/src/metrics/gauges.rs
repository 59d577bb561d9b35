//! Gauges: what is so now, from the engine's views at each scrape.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use fireactions_model::{JobState, MachineState, MachineView, PoolView};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::{self, Labels};
use super::{PoolLabels, process};
use crate::Version;

const MACHINE_STATES: [MachineState; 7] = [
    MachineState::Creating,
    MachineState::Booting,
    MachineState::Ready,
    MachineState::Starting,
    MachineState::Busy,
    MachineState::Held,
    MachineState::Stopping,
];
const JOB_STATES: [JobState; 8] = [
    JobState::Queued,
    JobState::Assigned,
    JobState::Running,
    JobState::Succeeded,
    JobState::Failed,
    JobState::Cancelled,
    JobState::TimedOut,
    JobState::Lost,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MachineLabels {
    pool: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabels {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: String,
    vmm: String,
}

type Level<L> = Family<L, Gauge<u64, AtomicU64>>;

/// Everything that goes up and down.
pub(super) struct Gauges {
    up: Gauge<u64, AtomicU64>,
    ready: Gauge<u64, AtomicU64>,
    drained: Gauge<u64, AtomicU64>,
    build: Family<BuildLabels, Gauge<u64, AtomicU64>>,
    pools: Gauge<u64, AtomicU64>,
    current: Level<Labels>,
    min: Level<PoolLabels>,
    max: Level<PoolLabels>,
    paused: Level<PoolLabels>,
    backoff: Level<PoolLabels>,
    queued: Level<PoolLabels>,
    machines: Level<MachineLabels>,
    jobs: Level<JobLabels>,
    rss: Gauge<u64, AtomicU64>,
    cpu: Gauge<f64, AtomicU64>,
    fds: Gauge<u64, AtomicU64>,
}

impl Gauges {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let gauges = Self {
            up: Gauge::default(),
            ready: Gauge::default(),
            drained: Gauge::default(),
            build: Family::default(),
            pools: Gauge::default(),
            current: Family::default(),
            min: Family::default(),
            max: Family::default(),
            paused: Family::default(),
            backoff: Family::default(),
            queued: Family::default(),
            machines: Family::default(),
            jobs: Family::default(),
            rss: Gauge::default(),
            cpu: Gauge::default(),
            fds: Gauge::default(),
        };
        gauges.up.set(1);
        let r = registry;
        r.register("fireactions_up", "The server answers", gauges.up.clone());
        r.register("fireactions_ready", "Jobs are accepted and can run", gauges.ready.clone());
        r.register("fireactions_host_drained", "The host makes no machines", gauges.drained.clone());
        r.register("fireactions_build_info", "Version and VMM driver", gauges.build.clone());
        r.register("fireactions_pool_total", "Pools", gauges.pools.clone());
        r.register("fireactions_pool_runners_current", "Machines of the pool", gauges.current.clone());
        r.register("fireactions_pool_runners_min", "Number of machines kept warm", gauges.min.clone());
        r.register("fireactions_pool_runners_max", "Maximum number of machines at once", gauges.max.clone());
        r.register("fireactions_pool_paused", "The pool makes no machines", gauges.paused.clone());
        r.register("fireactions_pool_backoff", "The pool waits after failures", gauges.backoff.clone());
        r.register("fireactions_pool_jobs_queued", "Jobs that wait for the pool", gauges.queued.clone());
        r.register("fireactions_machines", "Machines by state", gauges.machines.clone());
        r.register("fireactions_jobs", "Stored jobs by state", gauges.jobs.clone());
        r.register("process_resident_memory_bytes", "Resident memory of the server", gauges.rss.clone());
        r.register("process_cpu_seconds", "CPU time of the server", gauges.cpu.clone());
        r.register("process_open_fds", "Open file descriptors of the server", gauges.fds.clone());
        gauges
    }

    pub(super) fn build(&self, version: &Version) {
        let labels = BuildLabels { version: version.version.clone(), vmm: version.vmm.clone() };
        self.build.get_or_create(&labels).set(1);
    }

    /// `organization`: also in the labels of the one series that other programs have under the same name.
    pub(super) fn set(
        &self,
        pools: &[PoolView],
        machines: &[MachineView],
        jobs: &BTreeMap<JobState, u64>,
        ready: bool,
        drained: bool,
        organization: bool,
    ) {
        self.ready.set(ready.into());
        self.drained.set(drained.into());
        self.pools.set(pools.len() as u64);
        let mut by_state: BTreeMap<(&str, MachineState), u64> = BTreeMap::new();
        for machine in machines {
            *by_state.entry((machine.pool.as_str(), machine.state)).or_default() += 1;
        }
        for view in pools {
            let pool = view.spec.name.as_str();
            let labels = PoolLabels { pool: pool.to_owned() };
            let set = |family: &Level<PoolLabels>, value: u64| {
                family.get_or_create(&labels).set(value);
            };
            let mut current = 0;
            // Every state is written each time, so that one that emptied falls to 0.
            for state in MACHINE_STATES {
                let count = by_state.get(&(pool, state)).copied().unwrap_or(0);
                current += count;
                let labels = MachineLabels { pool: pool.to_owned(), state: state.as_str() };
                self.machines.get_or_create(&labels).set(count);
            }
            self.current.get_or_create(&labels::labels(view, organization, &[])).set(current);
            set(&self.min, view.min_runners.into());
            set(&self.max, view.max_runners.into());
            set(&self.paused, view.paused.into());
            set(&self.backoff, view.backoff.is_some().into());
            set(&self.queued, view.queued.into());
        }
        for state in JOB_STATES {
            let count = jobs.get(&state).copied().unwrap_or(0);
            self.jobs.get_or_create(&JobLabels { state: state.as_str() }).set(count);
        }
        let usage = process::usage();
        self.rss.set(usage.resident_bytes);
        self.cpu.set(usage.cpu_seconds);
        self.fds.set(usage.open_fds);
    }
}
