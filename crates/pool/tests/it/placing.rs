//! How the jobs of a cluster are shared over its hosts.

use std::collections::{BTreeMap, BTreeSet};

use fireactions_model::{ClusterHost, Label, Labels, PoolName, Shape};
use fireactions_pool::{Budget, Place, PlacePool, Prepared, Shares, Wanted, place, unplaced};
use proptest::prelude::*;

use crate::world::shape;

const OVERHEAD: u32 = 64;

fn shapes() -> [Shape; 3] {
    [shape(1, 512), shape(2, 1024), shape(4, 4096)]
}

fn pools() -> [PoolName; 2] {
    ["a", "b"].map(|name| PoolName::new(name).unwrap())
}

fn labels(gpu: bool) -> Labels {
    if gpu { Labels::from([Label::new("gpu").unwrap()]) } else { Labels::new() }
}

fn prepared() -> impl Strategy<Value = Prepared> {
    (0..4_u32, 0..3_u32, 0..3_u32, any::<(bool, bool)>()).prop_map(
        |(kept, ready, coming, (has_template, has_image))| Prepared {
            kept,
            ready,
            coming,
            has_template,
            has_image,
        },
    )
}

fn pool_of_host() -> impl Strategy<Value = PlacePool> {
    (0..8_u32, prop::collection::vec(prepared(), 3))
        .prop_map(|(room, all)| PlacePool { room, shapes: shapes().into_iter().zip(all).collect() })
}

fn hosts() -> impl Strategy<Value = Vec<Place>> {
    let one = (
        (prop_oneof![Just(0), 1..24_u32], prop_oneof![Just(0), 600..16_000_u64], prop::bool::weighted(0.1)),
        (prop::option::of(0..2_u8), any::<bool>()),
        prop::collection::vec(prop::option::weighted(0.8, pool_of_host()), 2),
    );
    prop::collection::vec(one, 0..6).prop_map(|all| {
        let place = |(n, ((vcpus, memory_mib, is_full), (zone, gpu), its))| {
            let its: Vec<Option<PlacePool>> = its;
            Place {
                host: ClusterHost::new(format!("h{n}")).unwrap(),
                zone: Option::<u8>::map(zone, |zone| format!("z{zone}")),
                labels: labels(gpu),
                room: Budget { vcpus, memory_mib, machine_overhead_mib: OVERHEAD },
                is_full,
                pools: pools().into_iter().zip(its).filter_map(|(name, pool)| Some((name, pool?))).collect(),
            }
        };
        (0..).zip(all).map(place).collect()
    })
}

fn wanted() -> impl Strategy<Value = Vec<Wanted>> {
    prop::collection::vec((0..10_u32, prop::bool::weighted(0.2)), 6).prop_map(|all| {
        let kinds = pools().into_iter().flat_map(|pool| shapes().map(|shape| (pool.clone(), shape)));
        let want = |((pool, shape), (jobs, gpu))| Wanted { pool, shape, jobs, needs: labels(gpu) };
        kinds.zip(all).map(want).collect()
    })
}

fn given(shares: &Shares, host: &ClusterHost, pool: &PoolName, shape: &Shape) -> u32 {
    let demand = shares.get(host).and_then(|pools| pools.get(pool));
    demand.and_then(|demand| demand.get(shape)).copied().unwrap_or(0)
}

fn sum(shares: &Shares) -> u32 {
    shares.values().flat_map(BTreeMap::values).flat_map(BTreeMap::values).sum()
}

/// What is left of a host's budget: processors, and memory.
fn left(place: &Place, shares: &Shares) -> (i64, i64) {
    let limit = |limit: u64| if limit == 0 { i64::MAX / 4 } else { i64::try_from(limit).unwrap() };
    let mut left = (limit(place.room.vcpus.into()), limit(place.room.memory_mib));
    for (shape, jobs) in shares.get(&place.host).into_iter().flat_map(BTreeMap::values).flatten() {
        left.0 -= i64::from(shape.vcpus) * i64::from(*jobs);
        left.1 -= i64::from(shape.memory_mib + OVERHEAD) * i64::from(*jobs);
    }
    left
}

/// Jobs that moved from one host to another, or begin or cease to be anywhere.
fn moved(before: &Shares, after: &Shares, hosts: &[Place]) -> u32 {
    let mut moved = 0;
    for (host, pool, shape) in hosts.iter().flat_map(|place| {
        pools().into_iter().flat_map(|pool| shapes().map(|shape| (&place.host, pool.clone(), shape)))
    }) {
        moved += given(before, host, &pool, &shape).abs_diff(given(after, host, &pool, &shape));
    }
    moved
}

/// The hosts as they are once they were given these shares.
fn keep(hosts: &[Place], shares: &Shares) -> Vec<Place> {
    let mut hosts = hosts.to_vec();
    for place in &mut hosts {
        for (name, pool) in &mut place.pools {
            for (shape, prepared) in &mut pool.shapes {
                prepared.kept = given(shares, &place.host, name, shape);
            }
        }
    }
    hosts
}

proptest! {
    #[test]
    fn no_host_gets_more_than_it_holds_and_nobody_more_than_is_wanted(wanted in wanted(), hosts in hosts()) {
        let shares = place(&wanted, &hosts);
        for want in &wanted {
            let sum: u32 = hosts.iter().map(|place| given(&shares, &place.host, &want.pool, &want.shape)).sum();
            prop_assert!(sum <= want.jobs);
        }
        for place in &hosts {
            let (vcpus, memory) = left(place, &shares);
            prop_assert!(vcpus >= 0 && memory >= 0);
            let none = BTreeMap::new();
            for (name, demand) in shares.get(&place.host).unwrap_or(&none) {
                let jobs: u32 = demand.values().sum();
                prop_assert!(jobs > 0 && jobs <= place.pools[name].room && !place.is_full);
            }
        }
        let short: u32 = unplaced(&wanted, &shares).values().flat_map(BTreeMap::values).sum();
        prop_assert_eq!(short + sum(&shares), wanted.iter().map(|want| want.jobs).sum::<u32>());
    }

    #[test]
    fn a_job_that_is_left_fits_nowhere(wanted in wanted(), hosts in hosts()) {
        let shares = place(&wanted, &hosts);
        let left_over = unplaced(&wanted, &shares);
        for want in &wanted {
            if left_over.get(&want.pool).is_none_or(|demand| !demand.contains_key(&want.shape)) {
                continue;
            }
            for place in &hosts {
                let Some(pool) = place.pools.get(&want.pool) else { continue };
                let jobs: u32 = shares.get(&place.host).and_then(|pools| pools.get(&want.pool)).map_or(0, |demand| demand.values().sum());
                let (vcpus, memory) = left(place, &shares);
                let fits = !place.is_full
                    && jobs < pool.room
                    && vcpus >= i64::from(want.shape.vcpus)
                    && memory >= i64::from(want.shape.memory_mib + OVERHEAD)
                    && want.needs.is_subset(&place.labels);
                prop_assert!(!fits, "{} has room for {:?}", place.host, want.shape);
            }
        }
    }

    #[test]
    fn the_order_of_hosts_does_not_matter_and_what_was_given_stays(wanted in wanted(), hosts in hosts()) {
        let shares = place(&wanted, &hosts);
        let mut turned = hosts.clone();
        turned.reverse();
        prop_assert_eq!(&place(&wanted, &turned), &shares);
        prop_assert_eq!(&place(&wanted, &keep(&hosts, &shares)), &shares, "asked again");
    }

    #[test]
    fn one_job_more_or_less_moves_no_other(wanted in wanted(), hosts in hosts(), which in 0..6_usize) {
        let shares = place(&wanted, &hosts);
        let kept = keep(&hosts, &shares);
        let mut more = wanted.clone();
        more[which].jobs += 1;
        prop_assert!(moved(&shares, &place(&more, &kept), &hosts) <= 1);
        let mut fewer = wanted.clone();
        fewer[which].jobs = fewer[which].jobs.saturating_sub(1);
        // Where it was, there may be room for another now.
        let after = place(&fewer, &kept);
        for place in &hosts {
            for want in &wanted {
                let (before, now) = [&shares, &after].map(|shares| given(shares, &place.host, &want.pool, &want.shape)).into();
                prop_assert!(now + 1 >= before, "more than one left {}", place.host);
            }
        }
    }

    #[test]
    fn a_host_that_goes_takes_only_its_own_jobs_along(wanted in wanted(), hosts in hosts()) {
        let shares = place(&wanted, &hosts);
        let Some(gone) = hosts.first() else { return Ok(()) };
        let kept = keep(&hosts[1..], &shares);
        let after = place(&wanted, &kept);
        for place in &hosts[1..] {
            for want in &wanted {
                let (before, now) = [&shares, &after].map(|shares| given(shares, &place.host, &want.pool, &want.shape)).into();
                prop_assert!(now >= before, "{} lost jobs as {} went", place.host, gone.host);
            }
        }
    }

    #[test]
    fn machines_that_wait_come_first(jobs in 1..12_u32, ready in prop::collection::vec(0..4_u32, 1..5)) {
        let [shape, ..] = shapes();
        let [pool, _] = pools();
        let host = |(n, ready): (usize, &u32)| {
            let prepared = Prepared { ready: *ready, ..Prepared::default() };
            let its = PlacePool { room: 100, shapes: BTreeMap::from([(shape.clone(), prepared)]) };
            Place {
                host: ClusterHost::new(format!("h{n}")).unwrap(),
                zone: None,
                labels: Labels::new(),
                room: Budget { vcpus: 100, memory_mib: 0, machine_overhead_mib: OVERHEAD },
                is_full: false,
                pools: BTreeMap::from([(pool.clone(), its)]),
            }
        };
        let hosts: Vec<Place> = ready.iter().enumerate().map(host).collect();
        let wanted = [Wanted { pool: pool.clone(), shape: shape.clone(), jobs, needs: Labels::new() }];
        let shares = place(&wanted, &hosts);
        let served: u32 = hosts.iter().zip(&ready).map(|(place, ready)| given(&shares, &place.host, &pool, &shape).min(*ready)).sum();
        prop_assert_eq!(served, jobs.min(ready.iter().sum()));
        prop_assert_eq!(sum(&shares), jobs);
    }
}

/// A host with room for this many small machines, prepared so.
fn host(name: &str, zone: Option<&str>, vcpus: u32, prepared: Prepared) -> Place {
    let [shape, ..] = shapes();
    let [pool, _] = pools();
    let its = PlacePool { room: 100, shapes: BTreeMap::from([(shape, prepared)]) };
    Place {
        host: ClusterHost::new(name).unwrap(),
        zone: zone.map(str::to_owned),
        labels: Labels::new(),
        room: Budget { vcpus, memory_mib: 0, machine_overhead_mib: OVERHEAD },
        is_full: false,
        pools: BTreeMap::from([(pool, its)]),
    }
}

fn given_to(hosts: &[Place], jobs: u32) -> Vec<u32> {
    let [shape, ..] = shapes();
    let [pool, _] = pools();
    let wanted = [Wanted { pool: pool.clone(), shape: shape.clone(), jobs, needs: Labels::new() }];
    let shares = place(&wanted, hosts);
    hosts.iter().map(|place| given(&shares, &place.host, &pool, &shape)).collect()
}

#[test]
fn what_is_there_decides_then_zone_and_room() {
    let cold = Prepared::default();
    let image = Prepared { has_image: true, ..cold };
    let template = Prepared { has_template: true, has_image: true, ..cold };
    let coming = Prepared { coming: 1, ..cold };
    let ready = Prepared { ready: 1, ..cold };
    let all = [("a", cold), ("b", image), ("c", template), ("d", coming), ("e", ready)];
    let hosts: Vec<Place> = all.iter().map(|(name, prepared)| host(name, None, 1, *prepared)).collect();
    let order: Vec<Vec<u32>> = (1..=5).map(|jobs| given_to(&hosts, jobs)).collect();
    assert_eq!(order, [[0, 0, 0, 0, 1], [0, 0, 0, 1, 1], [0, 0, 1, 1, 1], [0, 1, 1, 1, 1], [1, 1, 1, 1, 1],]);
    let zones = [host("a", Some("x"), 8, cold), host("b", Some("x"), 8, cold), host("c", Some("y"), 8, cold)];
    assert_eq!(given_to(&zones, 4), [1, 1, 2]);
    let sizes = [host("a", None, 4, cold), host("b", None, 12, cold)];
    assert_eq!(given_to(&sizes, 8), [2, 6], "by their room");
    assert_eq!(given_to(&sizes, 99), [4, 12]);
}

#[test]
fn hosts_without_the_labels_or_the_pool_get_nothing() {
    let mut hosts = [host("a", None, 8, Prepared::default()), host("b", None, 8, Prepared::default())];
    hosts[1].labels = labels(true);
    let [shape, ..] = shapes();
    let [pool, other] = pools();
    let wanted = [
        Wanted { pool: pool.clone(), shape: shape.clone(), jobs: 3, needs: labels(true) },
        Wanted { pool: other.clone(), shape: shape.clone(), jobs: 3, needs: Labels::new() },
    ];
    let shares = place(&wanted, &hosts);
    assert_eq!(shares.keys().map(ClusterHost::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(["b"]));
    assert_eq!(given(&shares, &hosts[1].host, &pool, &shape), 3);
    assert_eq!(unplaced(&wanted, &shares)[&other][&shape], 3);
}

#[test]
fn ten_thousand_jobs_over_a_hundred_hosts_are_a_matter_of_a_moment() {
    let hosts: Vec<Place> =
        (0..100).map(|n| host(&format!("h{n}"), None, 200, Prepared::default())).collect();
    let begin = std::time::Instant::now();
    assert_eq!(given_to(&hosts, 10_000), vec![100; 100]);
    // It takes less than a second without optimization; a host that is busy gets time.
    assert!(begin.elapsed() < std::time::Duration::from_secs(20), "{:?}", begin.elapsed());
}
