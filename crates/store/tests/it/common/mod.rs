//! What several tests need.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use fireactions_model::{ImageRef, JobId, JobSpec, MachineId, PoolName, PoolSpec, Program, Shape};
use fireactions_store::{NewMachineRow, Staging, Store};

pub fn machine(n: u64) -> MachineId {
    MachineId::from_random(n.to_le_bytes())
}

pub fn job(n: u64) -> JobId {
    JobId::from_random(n.to_le_bytes())
}

pub fn pool(name: &str) -> PoolName {
    PoolName::new(name).unwrap()
}

pub fn shape() -> Shape {
    Shape { image: ImageRef::new("debian:12").unwrap(), vcpus: 1, memory_mib: 256, disk_mib: 1024 }
}

pub fn pool_spec() -> PoolSpec {
    PoolSpec::new(pool("default"), shape())
}

pub fn new_machine(n: u64, max_slots: u32) -> NewMachineRow {
    NewMachineRow { id: machine(n), spec: pool_spec(), shape: shape(), max_slots }
}

pub fn spec() -> JobSpec {
    JobSpec::new(Program::Command { argv: vec!["true".to_owned()] })
}

pub fn no_files(store: &Store, n: u64) -> Staging {
    store.stage(&job(n))
}

/// Names below `jobs/`, sorted.
pub fn job_entries(store: &Store) -> Vec<String> {
    let entries = std::fs::read_dir(store.dir().join("jobs")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
