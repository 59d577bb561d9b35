//! What the configuration asks of the host.

use fireactions_config::{Accel, Config, Driver};
use fireactions_model::HugePages;

/// How much KVM matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing works without.
    Must,
    /// It works without, slowly.
    Should,
    /// It is not used.
    No,
}

/// What all pools together may want at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Demand {
    /// The driver.
    pub(super) driver: Driver,
    /// KVM.
    pub(super) kvm: Need,
    /// Most machines.
    pub(super) machines: u64,
    /// Threads of all machines' VMMs: one for each vCPU and a few beside.
    pub(super) threads: u64,
    /// Connections that all machines of pools with a bound may have.
    pub(super) connections: u64,
    /// Pools whose machines may have any number of connections.
    pub(super) unbounded: Vec<String>,
    /// Memory in reserved huge pages: of the largest machine and of all, in MiB.
    pub(super) huge_mib: (u64, u64),
}

/// Threads of a VMM beside its vCPUs.
const BESIDE: u64 = 4;

impl Demand {
    pub(super) fn of(config: &Config) -> Self {
        let driver = config.vmm.driver;
        let kvm = match (driver, config.vmm.accel) {
            (Driver::Firecracker, _) | (_, Accel::Kvm) => Need::Must,
            (_, Accel::Auto) => Need::Should,
            (_, Accel::Tcg) => Need::No,
        };
        let mut demand = Self {
            driver,
            kvm,
            machines: 0,
            threads: 0,
            connections: 0,
            unbounded: Vec::new(),
            huge_mib: (0, 0),
        };
        for pool in config.pools() {
            let count = u64::from(pool.max_runners);
            demand.machines += count;
            demand.threads += count * (u64::from(pool.shape.vcpus) + BESIDE);
            match pool.network.max_connections {
                0 => demand.unbounded.push(pool.name.to_string()),
                limit => demand.connections += count * u64::from(limit),
            }
            if pool.hardware.huge_pages == HugePages::Hugetlbfs {
                let mib = u64::from(pool.shape.memory_mib);
                demand.huge_mib.0 = demand.huge_mib.0.max(mib);
                demand.huge_mib.1 += mib * count;
            }
        }
        demand
    }

    #[cfg(test)]
    pub(super) fn some(driver: Driver, kvm: Need) -> Self {
        Self {
            driver,
            kvm,
            machines: 10,
            threads: 60,
            connections: 10_240,
            unbounded: Vec::new(),
            huge_mib: (0, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn pools_are_added_up() {
        let file = "kernel: {image: /k}\nvmm: {accel: kvm}\npools:\n\
            - {name: a, max_runners: 3, runner: {image: i}, firecracker: {machine_config: {vcpu_count: 2}}}\n\
            - {name: b, max_runners: 2, runner: {image: i}, network: {max_connections: 10}}\n\
            - {name: c, max_runners: 1, runner: {image: i}, network: {max_connections: 0}}\n";
        let loaded =
            fireactions_config::parse(Path::new("x"), file.as_bytes(), &fireactions_config::Host::unknown());
        let demand = Demand::of(&loaded.unwrap().config);
        assert_eq!((demand.machines, demand.threads, demand.connections), (6, 3 * 6 + 3 * 5, 3 * 4096 + 20));
        assert_eq!(demand.unbounded, ["c"]);
        assert_eq!((demand.kvm, demand.huge_mib), (Need::Must, (0, 0)));
        assert_eq!(Demand::of(&Config::default()).kvm, Need::Should);
    }
}
