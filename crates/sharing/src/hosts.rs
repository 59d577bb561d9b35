//! The cluster's hosts in the words of who shares jobs.

use std::collections::{BTreeMap, BTreeSet};

use fireactions_cluster::{GivenTo, Member, PoolLoad, Revised};
use fireactions_model::{
    ForgeName, ForgeReport, MachineState, PoolName, PoolReport, PoolSpec, Room, RunnerWord,
};
use fireactions_pool::{Budget, Place, PlacePool, Prepared, Runners, Sharer};

/// What a forge says of a host's runners, by their names.
pub(crate) type Words = BTreeMap<String, RunnerWord>;

/// A host, what it has and what it was given `before`.
pub(crate) fn sharer(
    member: &Member,
    forge: &ForgeName,
    pools: &[PoolSpec],
    words: &Words,
    before: Option<&Revised<GivenTo>>,
) -> Sharer {
    let load = &member.load;
    let report = load.forges.get(forge);
    let its = |pool: &PoolSpec| {
        Some((pool.name.clone(), place_of(load.pools.get(&pool.name)?, pool, load.drained)))
    };
    let runners = |(pool, report): (&PoolName, &PoolReport)| (pool.clone(), runners(report, words));
    let pending = |pool: &PoolSpec| {
        let pending = before.map_or(0, |before| pending(pool, report, before, words));
        (pool.name.clone(), pending)
    };
    let Room { vcpus, memory_mib, machine_overhead_mib } = load.room;
    Sharer {
        place: Place {
            host: member.identity.host.clone(),
            zone: member.identity.zone.clone(),
            labels: member.identity.labels.clone(),
            // In a budget, zero is no limit.
            is_full: vcpus == Some(0) || memory_mib == Some(0),
            room: Budget {
                vcpus: vcpus.unwrap_or(0),
                memory_mib: memory_mib.unwrap_or(0),
                machine_overhead_mib,
            },
            pools: pools.iter().filter_map(its).collect(),
        },
        runners: report.into_iter().flat_map(|report| &report.pools).map(runners).collect(),
        pending: pools.iter().map(pending).collect(),
    }
}

fn place_of(load: &PoolLoad, pool: &PoolSpec, drained: bool) -> PlacePool {
    let count = |which: &dyn Fn(MachineState) -> bool| -> u32 {
        load.machines.iter().filter(|(state, _)| which(**state)).map(|(_, count)| count).sum()
    };
    // A held machine is not the pool's any more.
    let taken = count(&|state| !state.is_idle_capacity() && state != MachineState::Held);
    let room = if drained || load.holds_back { 0 } else { load.max.saturating_sub(taken) };
    let prepared = Prepared {
        ready: count(&|state| state == MachineState::Ready),
        coming: count(&|state| matches!(state, MachineState::Creating | MachineState::Booting)),
        ..Prepared::default()
    };
    PlacePool { room, shapes: BTreeMap::from([(pool.shape.clone(), prepared)]) }
}

/// What the host has by its own word, and by the forge's, which it may not have heard yet.
fn runners(report: &PoolReport, words: &Words) -> Runners {
    let mut all = Runners { idle: report.unnamed, busy: 0 };
    for (runner, is_busy) in &report.runners {
        match words.get(runner) {
            Some(word) if word.ended => {}
            Some(_) => all.busy += 1,
            None if *is_busy => all.busy += 1,
            None => all.idle += 1,
        }
    }
    all
}

/// Runners that the host may have begun and of which nothing was heard: neither by its report nor by the forge. The share that it tells
/// to have taken, and none before, is what it may still begin; what it had begun until then is in the same report.
fn pending(pool: &PoolSpec, report: Option<&ForgeReport>, before: &Revised<GivenTo>, words: &Words) -> u32 {
    let Revised { share: GivenTo { share, .. }, revision } = before;
    let none = BTreeSet::new();
    let counted = share.counted.get(&pool.name).unwrap_or(&none);
    let given = share.pools.get(&pool.name).map_or(0, |jobs| jobs.all);
    let mut may_begin = given.saturating_sub(count(counted.len()));
    if report.is_none_or(|report| report.taken != Some(*revision)) {
        may_begin = may_begin.max(share.pending.get(&pool.name).copied().unwrap_or(0));
    }
    let report = report.and_then(|report| report.pools.get(&pool.name));
    let told = words.iter().filter(|(_, word)| is_of(pool, word)).map(|(runner, _)| runner);
    let now: BTreeSet<&String> =
        report.into_iter().flat_map(|report| report.runners.keys()).chain(told).collect();
    let fresh =
        now.iter().filter(|runner| !counted.contains(**runner) && !share.words.contains_key(**runner));
    let fresh = count(fresh.count()).saturating_add(report.map_or(0, |report| report.unnamed));
    may_begin.saturating_sub(fresh)
}

/// Whether the forge says this of a runner of the pool.
fn is_of(pool: &PoolSpec, word: &RunnerWord) -> bool {
    pool.scale_set().is_some() && word.job.scale_set.as_deref() == pool.scale_set()
}

fn count(runners: usize) -> u32 {
    u32::try_from(runners).unwrap_or(u32::MAX)
}

/// The host's runners of the forge, as it reports them, without those that have ended by the forge's word.
pub(crate) fn counted(
    member: &Member,
    forge: &ForgeName,
    words: &Words,
) -> BTreeMap<PoolName, BTreeSet<String>> {
    let has_ended = |runner: &&String| words.get(*runner).is_some_and(|word| word.ended);
    let pools = member.load.forges.get(forge).into_iter().flat_map(|report| &report.pools);
    let runners = |(pool, report): (&PoolName, &PoolReport)| {
        let names: BTreeSet<String> =
            report.runners.keys().filter(|runner| !has_ended(runner)).cloned().collect();
        (pool.clone(), names)
    };
    pools.map(runners).filter(|(_, names)| !names.is_empty()).collect()
}

/// Runners of the forge that hosts report.
pub(crate) fn reported<'a>(
    members: impl Iterator<Item = &'a Member>,
    forge: &ForgeName,
) -> BTreeSet<&'a str> {
    let reports = members.filter_map(|member| member.load.forges.get(forge));
    reports
        .flat_map(|report| report.pools.values())
        .flat_map(|pool| pool.runners.keys().map(String::as_str))
        .collect()
}

/// Machines that each pool may have on all hosts.
pub(crate) fn capacity<'a>(
    members: impl Iterator<Item = &'a Member>,
    forge: &ForgeName,
) -> BTreeMap<PoolName, u32> {
    let mut all: BTreeMap<PoolName, u32> = BTreeMap::new();
    for report in members.filter_map(|member| member.load.forges.get(forge)) {
        for (pool, report) in &report.pools {
            let sum = all.entry(pool.clone()).or_default();
            *sum = sum.saturating_add(report.capacity);
        }
    }
    all
}
