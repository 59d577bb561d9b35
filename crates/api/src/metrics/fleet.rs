//! The cluster's hosts, from what they tell each other, at each scrape. Every host has the same numbers.

use std::sync::atomic::AtomicU64;

use fireactions_model::PoolView;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::PoolLabels;
use crate::FleetCounts;

/// The series of a cluster. A host without one has none of them.
#[derive(Default)]
pub(super) struct Fleet {
    hosts: Gauge<u64, AtomicU64>,
    drained: Gauge<u64, AtomicU64>,
    unplaced: Family<PoolLabels, Gauge<u64, AtomicU64>>,
    vcpus: Gauge<u64, AtomicU64>,
    memory: Gauge<u64, AtomicU64>,
}

impl Fleet {
    pub(super) fn register(r: &mut Registry) -> Self {
        let all = Self::default();
        r.register("fireactions_fleet_hosts", "Hosts of the cluster that are there", all.hosts.clone());
        r.register("fireactions_fleet_drained_hosts", "Those that an operator drained", all.drained.clone());
        let unplaced = "Jobs of a pool that no host has room for";
        r.register("fireactions_fleet_unplaced_jobs", unplaced, all.unplaced.clone());
        let vcpus = "Virtual processors that the hosts lack for jobs that no host has room for";
        r.register("fireactions_fleet_shortage_vcpus", vcpus, all.vcpus.clone());
        let memory = "Memory that the hosts lack for them";
        r.register("fireactions_fleet_shortage_memory_bytes", memory, all.memory.clone());
        all
    }

    /// Of pools that this host does not have, it is not known what their jobs need.
    pub(super) fn set(&self, pools: &[PoolView], fleet: &FleetCounts) {
        self.hosts.set(fleet.hosts);
        self.drained.set(fleet.drained);
        let (mut vcpus, mut memory_mib) = (0_u64, 0_u64);
        for PoolView { spec, .. } in pools {
            let jobs = fleet.unplaced.get(&spec.name).copied().unwrap_or(0);
            self.unplaced.get_or_create(&PoolLabels { pool: spec.name.to_string() }).set(u64::from(jobs));
            vcpus = vcpus.saturating_add(u64::from(jobs) * u64::from(spec.shape.vcpus));
            memory_mib = memory_mib.saturating_add(u64::from(jobs) * u64::from(spec.shape.memory_mib));
        }
        self.vcpus.set(vcpus);
        self.memory.set(memory_mib.saturating_mul(1 << 20));
    }
}
