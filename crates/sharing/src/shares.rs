//! What each host is to be given, by all that is known where the forge is listened to. No IO.

use std::collections::BTreeMap;

use fireactions_cluster::{GivenTo, Identity, Member, Revised};
use fireactions_forge::{Heard, runner_key};
use fireactions_model::{AssignedJobs, ClusterHost, ForgeName, ForgeShare, PoolName, PoolSpec, RemoteJob};
use fireactions_pool::{Counted, Sharer, share};

use crate::hosts::{self, Words};
use crate::jobs::{Wanting, deal};

/// What is known of a forge's jobs.
pub(crate) struct Known<'a> {
    pub(crate) forge: &'a ForgeName,
    /// All pools of the configuration.
    pub(crate) pools: &'a [PoolSpec],
    /// The hosts that are there.
    pub(crate) members: &'a BTreeMap<ClusterHost, Member>,
    /// What each host was given last.
    pub(crate) before: &'a BTreeMap<ClusterHost, Revised<GivenTo>>,
    /// What the forge says.
    pub(crate) heard: &'a Heard,
}

/// What each host is to be given, those that are gone and may come back among them.
pub(crate) struct Shares {
    pub(crate) given: BTreeMap<ClusterHost, GivenTo>,
    /// Jobs without a host, by pool.
    pub(crate) unplaced: BTreeMap<PoolName, u32>,
}

impl Known<'_> {
    pub(crate) fn shares(&self) -> Shares {
        let (no_share, no_words) = (ForgeShare::default(), Words::new());
        let words = self.words_by_key();
        let words_of = |instance: &str| words.get(instance).unwrap_or(&no_words);
        // Pools of which the forge has said nothing yet stay as they are.
        let is_heard = |pool: &&PoolSpec| self.heard.assigned.contains_key(&pool.name);
        let pools: Vec<PoolSpec> = self.pools.iter().filter(is_heard).cloned().collect();
        let sharer = |member: &Member| {
            let words = words_of(&member.identity.instance);
            hosts::sharer(member, self.forge, &pools, words, self.before(member))
        };
        let hosts: Vec<Sharer> = self.members.values().map(sharer).collect();
        let counted: Vec<Counted> = pools.iter().map(|pool| self.counted(pool, &hosts)).collect();
        let mut sharing = share(&counted, &hosts);
        for (pool, jobs) in self.heard.assigned.iter().filter(|(_, jobs)| jobs.held_back > 0) {
            let unplaced = sharing.unplaced.entry(pool.clone()).or_default();
            *unplaced = unplaced.saturating_add(jobs.held_back);
        }
        let mut dealt = self.jobs_by_host(&sharing.given);
        let mut all = BTreeMap::new();
        for ((host, member), sharer) in self.members.iter().zip(&hosts) {
            let instance = member.identity.instance.clone();
            let words = words_of(&instance).clone();
            let report = member.load.forges.get(self.forge);
            let is_kept = |pool: &PoolName| !self.heard.assigned.contains_key(pool) && self.has(pool);
            // Of pools of which nothing is known yet: as before.
            let before = self.before(member).map_or(&no_share, |before| &before.share.share);
            let ForgeShare { mut pools, counted: mut known, mut pending, .. } = before.clone();
            pools.retain(|pool, _| is_kept(pool));
            known.retain(|pool, _| is_kept(pool));
            pending.retain(|pool, _| is_kept(pool));
            let given = sharing.given.remove(host).unwrap_or_default();
            pending.extend(hosts::pending_after(sharer, &given, report));
            pools.extend(given);
            let mut counted = hosts::counted(member, self.forge, &words);
            counted.retain(|pool, _| !is_kept(pool));
            counted.extend(known);
            let jobs = dealt.remove(host).unwrap_or_default();
            let share = ForgeShare { pools, counted, pending, jobs, words };
            all.insert(host.clone(), GivenTo { instance, share });
        }
        for (host, before) in self.before {
            if !all.contains_key(host) {
                let instance = before.share.instance.clone();
                let share = ForgeShare { words: words_of(&instance).clone(), ..ForgeShare::default() };
                all.insert(host.clone(), GivenTo { instance, share });
            }
        }
        Shares { given: all, unplaced: sharing.unplaced }
    }

    /// What this host was given last; nothing where another state had its name.
    fn before(&self, member: &Member) -> Option<&Revised<GivenTo>> {
        let Identity { host, instance, .. } = &member.identity;
        self.before.get(host).filter(|before| before.share.instance == *instance)
    }

    fn has(&self, pool: &PoolName) -> bool {
        self.pools.iter().any(|its| its.name == *pool)
    }

    /// The pool's jobs that the hosts which are there have, or are to have. One that runs, and on none of them, runs where nobody is heard
    /// of.
    fn counted(&self, pool: &PoolSpec, hosts: &[Sharer]) -> Counted {
        let jobs = self.heard.assigned.get(&pool.name).copied().unwrap_or_default();
        let busy = |host: &Sharer| host.runners.get(&pool.name).map_or(0, |runners| runners.busy);
        let here = hosts.iter().map(busy).fold(0, u32::saturating_add);
        let jobs = jobs.all.saturating_sub(jobs.running.saturating_sub(here));
        Counted { pool: pool.name.clone(), shape: pool.shape.clone(), jobs }
    }

    /// Of the jobs that wait those that each host is to have runners for, by pool.
    fn jobs_by_host(
        &self,
        given: &BTreeMap<ClusterHost, BTreeMap<PoolName, AssignedJobs>>,
    ) -> BTreeMap<ClusterHost, BTreeMap<PoolName, Vec<RemoteJob>>> {
        let mut all: BTreeMap<ClusterHost, BTreeMap<PoolName, Vec<RemoteJob>>> = BTreeMap::new();
        for (pool, waiting) in &self.heard.waiting {
            let wanting = |(host, pools): (&ClusterHost, &BTreeMap<PoolName, AssignedJobs>)| {
                let jobs = pools.get(pool)?;
                let before = self.before.get(host).and_then(|given| given.share.share.jobs.get(pool));
                let count = jobs.all.saturating_sub(jobs.running);
                Some((host.clone(), Wanting { count, before: before.cloned().unwrap_or_default() }))
            };
            let hosts = given.iter().filter_map(wanting).collect();
            for (host, jobs) in deal(waiting, &hosts) {
                all.entry(host).or_default().insert(pool.clone(), jobs);
            }
        }
        all
    }

    /// What the forge says of runners, by the key of the host that has them.
    fn words_by_key(&self) -> BTreeMap<&str, Words> {
        let mut all: BTreeMap<&str, Words> = BTreeMap::new();
        for (runner, word) in &self.heard.words {
            if let Some(key) = runner_key(runner) {
                all.entry(key).or_default().insert(runner.clone(), word.clone());
            }
        }
        all
    }
}

#[cfg(test)]
mod tests;
