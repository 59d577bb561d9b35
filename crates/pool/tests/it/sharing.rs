//! How a forge's jobs are shared among hosts.

use std::collections::BTreeMap;

use fireactions_model::{AssignedJobs, ClusterHost, ImageRef, Labels, PoolName, Shape};
use fireactions_pool::{Budget, Counted, Place, PlacePool, Runners, Sharer, Sharing, share};

fn pool() -> PoolName {
    PoolName::new("fast").unwrap()
}

fn shape() -> Shape {
    Shape { image: ImageRef::new("debian:12").unwrap(), vcpus: 2, memory_mib: 1024, disk_mib: 1024 }
}

fn name(host: usize) -> ClusterHost {
    ClusterHost::new(format!("h{host}")).unwrap()
}

/// A host with room for so many more machines, with these runners, that was given so many to make which were not seen yet.
fn sharer(host: usize, room: u32, runners: Runners, pending: u32) -> Sharer {
    Sharer {
        place: Place {
            host: name(host),
            zone: None,
            labels: Labels::default(),
            room: Budget { vcpus: 0, memory_mib: 0, machine_overhead_mib: 0 },
            is_full: false,
            pools: BTreeMap::from([(pool(), PlacePool { room, shapes: BTreeMap::new() })]),
        },
        runners: BTreeMap::from([(pool(), runners)]),
        pending: BTreeMap::from([(pool(), pending)]),
    }
}

fn counted(jobs: u32) -> [Counted; 1] {
    [Counted { pool: pool(), shape: shape(), jobs }]
}

fn assigned(all: u32, running: u32) -> AssignedJobs {
    AssignedJobs { all, running, held_back: 0 }
}

fn given(sharing: &Sharing, host: usize) -> AssignedJobs {
    sharing.given.get(&name(host)).and_then(|pools| pools.get(&pool())).copied().unwrap_or_default()
}

const fn runners(idle: u32, busy: u32) -> Runners {
    Runners { idle, busy }
}

#[test]
fn jobs_without_a_runner_go_where_there_is_room_and_the_rest_to_nobody() {
    let hosts = [sharer(0, 2, runners(0, 1), 0), sharer(1, 1, runners(0, 0), 0)];
    let sharing = share(&counted(6), &hosts);
    assert_eq!(given(&sharing, 0), assigned(3, 1));
    assert_eq!(given(&sharing, 1), assigned(1, 0));
    assert_eq!(sharing.unplaced, BTreeMap::from([(pool(), 2)]));
}

#[test]
fn a_host_keeps_what_it_was_given_and_has_no_runner_for_yet() {
    // The other has more room, and the first has begun its machines.
    let hosts = [sharer(0, 4, runners(0, 3), 2), sharer(1, 9, runners(0, 0), 0)];
    let sharing = share(&counted(5), &hosts);
    assert_eq!((given(&sharing, 0).all, given(&sharing, 1).all), (5, 0));
    // One that has no room any more does not.
    let hosts = [sharer(0, 0, runners(0, 3), 2), sharer(1, 9, runners(0, 0), 0)];
    let sharing = share(&counted(5), &hosts);
    assert_eq!((given(&sharing, 0).all, given(&sharing, 1).all), (3, 2));
}

#[test]
fn runners_that_no_job_is_there_for_are_told_where_most_are_idle() {
    let hosts = [sharer(0, 4, runners(3, 1), 0), sharer(1, 4, runners(1, 1), 0)];
    let sharing = share(&counted(3), &hosts);
    assert_eq!(given(&sharing, 0), assigned(2, 1));
    assert_eq!(given(&sharing, 1), assigned(1, 1));
    // A runner with a job stays, whatever is counted.
    let sharing = share(&counted(0), &hosts);
    assert_eq!((given(&sharing, 0).all, given(&sharing, 1).all), (1, 1));
    assert_eq!(share(&counted(0), &[sharer(0, 4, runners(0, 0), 0)]), Sharing::default());
}
