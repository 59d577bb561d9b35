//! Metrics under the names of other programs of this name, for the panels and alerts that people have
//! (`metrics.compat`): 0.4, 1.x and 2.x of hostinger's fireactions.

use std::sync::atomic::AtomicU64;

use fireactions_model::{MachineState, PoolView};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::counts::{Counted, Counts};
use super::labels::{Labels, labels};

type Number = Gauge<u64, AtomicU64>;

/// What is known of a pool at a scrape.
pub(super) struct Facts<'a> {
    pub(super) view: &'a PoolView,
    /// Its machines in any state.
    pub(super) current: u64,
    /// Those that are not ready yet.
    pub(super) pending: u64,
    /// Since the server's start.
    pub(super) counted: Counted,
}

type Value = fn(&Facts<'_>) -> u64;

/// One series of each pool.
struct Series {
    name: &'static str,
    help: &'static str,
    /// Labels beside the pool's name.
    organization: bool,
    more: &'static [(&'static str, &'static str)],
    value: Value,
}

const fn of_04(name: &'static str, help: &'static str, value: Value) -> Series {
    Series { name, help, organization: false, more: &[], value }
}

const fn since_1(name: &'static str, help: &'static str, value: Value) -> Series {
    Series { name, help, organization: true, more: &[], value }
}

const OPERATIONS: &str = "fireactions_scale_operations_total";

const fn operations(more: &'static [(&'static str, &'static str)], value: Value) -> Series {
    Series { name: OPERATIONS, help: "Machines made and removed, by result", organization: true, more, value }
}

/// All are gauges, whatever their names say: with a counter, names would get another end.
const SERIES: [Series; 14] = [
    of_04("fireactions_pool_status", "1 if the pool makes machines, 0 if it is paused", |pool| {
        u64::from(!pool.view.paused)
    }),
    of_04("fireactions_pool_current_runners_count", "Machines of the pool", |pool| pool.current),
    of_04("fireactions_pool_max_runners_count", "Maximum number of machines at once", |pool| {
        pool.view.max_runners.into()
    }),
    of_04("fireactions_pool_min_runners_count", "Number of machines kept warm", |pool| {
        pool.view.min_runners.into()
    }),
    of_04("fireactions_pool_scale_requests", "Machines begun", |pool| pool.counted.created),
    of_04("fireactions_pool_scale_successes", "Machines begun that did not fail", |pool| {
        pool.counted.succeeded()
    }),
    of_04("fireactions_pool_scale_failures", "Machines that failed", |pool| pool.counted.failed),
    since_1(
        "fireactions_pool_runners_desired",
        "Number of machines kept warm, or as many as jobs need",
        |pool| pool.current.max(pool.view.min_runners.into()).min(pool.view.max_runners.into()),
    ),
    since_1("fireactions_pool_runners_pending", "Machines that are not ready yet", |pool| pool.pending),
    since_1("fireactions_pool_scale_requests_total", "Machines begun and removed", |pool| {
        pool.counted.created + pool.counted.gone
    }),
    operations(&[("direction", "up"), ("status", "success")], |pool| pool.counted.succeeded()),
    operations(&[("direction", "up"), ("status", "failure")], |pool| pool.counted.failed),
    operations(&[("direction", "down"), ("status", "success")], |pool| pool.counted.gone),
    operations(&[("direction", "down"), ("status", "failure")], |_| 0),
];

/// The families of [`SERIES`], each beside its first one.
pub(super) struct Compat {
    up: Number,
    pools: Number,
    families: Vec<Family<Labels, Number>>,
}

impl Compat {
    pub(super) fn register(registry: &mut Registry, counts: &Counts) -> Self {
        let compat = Self { up: Gauge::default(), pools: Gauge::default(), families: families() };
        compat.up.set(1);
        registry.register("fireactions_server_up", "The server answers", compat.up.clone());
        registry.register("fireactions_pools_total", "Pools", compat.pools.clone());
        registry.register(
            "fireactions_scale_duration_seconds",
            "Time from a machine's beginning until it was ready",
            counts.readied.clone(),
        );
        for (index, (series, family)) in SERIES.iter().zip(&compat.families).enumerate() {
            if SERIES[..index].iter().all(|other| other.name != series.name) {
                registry.register(series.name, series.help, family.clone());
            }
        }
        compat
    }

    pub(super) fn set(&self, pools: &[Facts<'_>]) {
        self.pools.set(pools.len() as u64);
        for (series, family) in SERIES.iter().zip(&self.families) {
            for pool in pools {
                let labels = labels(pool.view, series.organization, series.more);
                family.get_or_create(&labels).set((series.value)(pool));
            }
        }
    }
}

/// One for each of [`SERIES`]; series of one name share theirs.
fn families() -> Vec<Family<Labels, Number>> {
    let mut families: Vec<Family<Labels, Number>> = Vec::new();
    for (index, series) in SERIES.iter().enumerate() {
        let first = SERIES[..index].iter().position(|other| other.name == series.name);
        families.push(first.map_or_else(Family::default, |first| families[first].clone()));
    }
    families
}

/// Whether a machine in this state will be ready.
pub(super) const fn is_pending(state: MachineState) -> bool {
    matches!(state, MachineState::Creating | MachineState::Booting)
}
