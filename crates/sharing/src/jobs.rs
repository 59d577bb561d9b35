//! Which of the jobs that wait each host has its runners for. Where a runner may be for one job alone, no two hosts are to have one for
//! the same.

use std::collections::{BTreeMap, HashMap, HashSet};

use fireactions_model::{ClusterHost, RemoteJob};

/// How many of a pool's waiting jobs a host is to have runners for, and which it was given before.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanting {
    pub(crate) count: u32,
    pub(crate) before: Vec<RemoteJob>,
}

/// What names an attempt at a job.
type Attempt = (Option<u64>, Option<String>);

fn attempt(job: &RemoteJob) -> Attempt {
    (job.id, job.handle.clone())
}

/// Gives each host as many jobs as it wants, as far as they go: first those that it had, then the oldest that nobody has.
pub(crate) fn deal(
    waiting: &[RemoteJob],
    hosts: &BTreeMap<ClusterHost, Wanting>,
) -> BTreeMap<ClusterHost, Vec<RemoteJob>> {
    let known: HashMap<Attempt, &RemoteJob> = waiting.iter().map(|job| (attempt(job), job)).collect();
    let mut dealt = HashSet::new();
    let mut all: BTreeMap<ClusterHost, Vec<RemoteJob>> = BTreeMap::new();
    for (host, wanting) in hosts {
        let most = usize::try_from(wanting.count).unwrap_or(usize::MAX);
        let kept = wanting.before.iter().filter_map(|job| known.get(&attempt(job)));
        let kept = kept.filter(|job| dealt.insert(attempt(job))).take(most);
        all.insert(host.clone(), kept.map(|job| (*job).clone()).collect());
    }
    let mut rest = waiting.iter().filter(|job| !dealt.contains(&attempt(job)));
    for (host, wanting) in hosts {
        let its = all.entry(host.clone()).or_default();
        let most = usize::try_from(wanting.count).unwrap_or(usize::MAX);
        its.extend(rest.by_ref().take(most.saturating_sub(its.len())).cloned());
    }
    all.retain(|_, jobs| !jobs.is_empty());
    all
}

#[cfg(test)]
mod tests {
    use fireactions_model::ForgeName;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn job(id: u64) -> RemoteJob {
        RemoteJob { id: Some(id), ..RemoteJob::new(ForgeName::github(), "acme") }
    }

    fn host(number: usize) -> ClusterHost {
        ClusterHost::new(format!("host-{number}")).unwrap()
    }

    fn ids(jobs: &[RemoteJob]) -> Vec<u64> {
        jobs.iter().filter_map(|job| job.id).collect()
    }

    proptest! {
        #[test]
        fn no_job_is_dealt_twice_none_is_left_and_hosts_keep_theirs(
            waiting in vec(0..40_u64, 0..30),
            hosts in vec((0..8_u32, vec(0..40_u64, 0..10)), 0..5),
        ) {
            let unique: std::collections::BTreeSet<u64> = waiting.into_iter().collect();
            let waiting: Vec<RemoteJob> = unique.iter().copied().map(job).collect();
            let wanting = |(count, before): (u32, Vec<u64>)| Wanting { count, before: before.into_iter().map(job).collect() };
            let hosts: BTreeMap<ClusterHost, Wanting> =
                hosts.into_iter().map(wanting).enumerate().map(|(number, its)| (host(number), its)).collect();
            let dealt = deal(&waiting, &hosts);
            let all: Vec<u64> = dealt.values().flat_map(|jobs| ids(jobs)).collect();
            let distinct: std::collections::BTreeSet<u64> = all.iter().copied().collect();
            prop_assert_eq!(distinct.len(), all.len());
            prop_assert!(distinct.is_subset(&unique));
            let wanted: usize = hosts.values().map(|its| its.count as usize).sum();
            prop_assert_eq!(all.len(), wanted.min(waiting.len()));
            for (host, its) in &hosts {
                let now = dealt.get(host).map(|jobs| ids(jobs)).unwrap_or_default();
                prop_assert!(now.len() <= its.count as usize);
                // What it had and has no more is another's who had it, too, or is more than it wants.
                let mine: std::collections::BTreeSet<u64> = ids(&its.before).into_iter().filter(|id| unique.contains(id)).collect();
                let others: std::collections::BTreeSet<u64> =
                    dealt.iter().filter(|(other, _)| *other != host).flat_map(|(_, jobs)| ids(jobs)).collect();
                let lost = mine.iter().filter(|id| !now.contains(id) && !others.contains(id)).count();
                prop_assert!(lost == 0 || now.iter().all(|id| mine.contains(id)) && now.len() == its.count as usize);
            }
        }
    }

    #[test]
    fn another_attempt_is_another_job() {
        let again = RemoteJob { handle: Some("b".to_owned()), ..job(1) };
        let first = RemoteJob { handle: Some("a".to_owned()), ..job(1) };
        let hosts = BTreeMap::from([
            (host(0), Wanting { count: 1, before: Vec::new() }),
            (host(1), Wanting { count: 1, before: vec![first] }),
        ]);
        let dealt = deal(std::slice::from_ref(&again), &hosts);
        assert_eq!(dealt, BTreeMap::from([(host(0), vec![again])]));
    }
}
