//! The host that has a forge's lease: it listens to the forge, and gives each host its share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fireactions_cluster::{Desk, Fence, GivenTo, Identity, Lease, Link, Member, Trouble};
use fireactions_forge::{Earlier, Heard, HostedForge, Presence, runner_key};
use fireactions_model::{
    AssignedJobs, ClusterHost, ExponentialBackoff, ForgeName, ForgeShare, PoolName, PoolSpec, RemoteJob,
};
use fireactions_pool::{Counted, Sharer, share};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::hosts::{self, Words};
use crate::jobs::{Wanting, deal};

/// How often shares are looked at whether or not anything changed: time alone changes what hosts do.
const LOOK: Duration = Duration::from_secs(1);
/// What happens at once is looked at once.
const GATHER: Duration = Duration::from_millis(10);
/// Pauses while NATS does not take what is written.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Jobs that no host has room for, by forge and pool.
pub type Shortage = BTreeMap<(ForgeName, PoolName), u32>;

pub(crate) struct Leader {
    pub(crate) link: Link,
    pub(crate) lease: Lease,
    pub(crate) roster: watch::Receiver<Arc<BTreeMap<ClusterHost, Member>>>,
    pub(crate) forge: HostedForge,
    pub(crate) pools: Vec<PoolSpec>,
    pub(crate) shortage: watch::Sender<Shortage>,
}

/// What becomes of leading.
enum Ended {
    /// Another host has the lease, or nobody.
    Lost,
    /// NATS is not as it should be.
    Trouble(Trouble),
}

impl From<Trouble> for Ended {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl Leader {
    /// Leads whenever this host has the lease, until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut changes = self.lease.changes();
        while !stop.is_cancelled() {
            if let Some(fence) = self.lease.fence() {
                Box::pin(self.lead(fence, &stop)).await;
                self.say_short(BTreeMap::new());
            }
            // The lease's own clock may have taken it away.
            let _ = stop.run_until_cancelled(timeout(LOOK, changes.changed())).await;
        }
    }

    /// Listens and shares while this host has the lease.
    async fn lead(&mut self, fence: Fence, stop: &CancellationToken) {
        let mut pauses = ExponentialBackoff::new(PAUSES.0, PAUSES.1);
        let mut desk = loop {
            match Desk::open(&self.link, self.forge.name(), fence).await {
                Ok(desk) => break desk,
                Err(trouble) => {
                    tracing::warn!(forge = %self.forge.name(), %trouble, "the shares of the forge's jobs cannot be read");
                    sleep(pauses.failed(rand::random())).await;
                }
            }
            if self.lease.fence() != Some(fence) || stop.is_cancelled() {
                return;
            }
        };
        let words = desk.given().flat_map(|(_, given)| given.share.words.clone()).collect();
        let earlier = Earlier { words, held: desk.held().clone() };
        let listening = stop.child_token();
        let lead = {
            let (forge, pools, stop) = (self.forge.clone(), self.pools.clone(), listening.clone());
            tokio::spawn(async move { forge.lead(&pools, earlier, stop).await })
        };
        tracing::info!(forge = %self.forge.name(), "this host listens to the forge for the cluster");
        let mut changes = self.forge.sharing_changes();
        while !stop.is_cancelled() {
            changes.mark_unchanged();
            self.roster.mark_unchanged();
            match self.look(&mut desk, fence).await {
                Ok(()) => pauses.succeeded(),
                Err(Ended::Lost) => break,
                Err(Ended::Trouble(trouble)) => {
                    tracing::debug!(forge = %self.forge.name(), %trouble, "shares could not be written; trying again");
                    sleep(pauses.failed(rand::random())).await;
                }
            }
            tokio::select! {
                _ = changes.changed() => {}
                _ = self.roster.changed() => {}
                () = sleep(LOOK) => {}
                () = stop.cancelled() => {}
            }
            sleep(GATHER).await;
        }
        listening.cancel();
        let _ = lead.await;
        tracing::info!(forge = %self.forge.name(), "this host no longer listens to the forge for the cluster");
    }

    /// Gives every host what is its own now.
    async fn look(&self, desk: &mut Desk, fence: Fence) -> Result<(), Ended> {
        let members = self.roster.borrow().clone();
        let name = self.forge.name();
        self.forge.set_shared_capacity(hosts::capacity(members.values(), name));
        self.forge.set_reports(members.values().filter_map(|member| member.load.forges.get(name)));
        let Some(heard) = self.forge.heard_so_far() else { return self.kept(fence) };
        let (given, unplaced) = self.shares(desk, &members, &heard);
        for (host, given) in given {
            self.kept(fence)?;
            if given.share == ForgeShare::default() && !members.contains_key(&host) {
                desk.forget(&host).await?;
            } else if !desk.give(&host, given).await? {
                return Err(Ended::Lost);
            }
        }
        self.kept(fence)?;
        if !desk.hold(self.forge.held()).await? {
            return Err(Ended::Lost);
        }
        let reported = hosts::reported(members.values(), name);
        let present: Vec<&str> = members.values().map(|member| member.identity.instance.as_str()).collect();
        self.forge.told(heard.count, &|runner| {
            if reported.contains(runner) {
                Presence::There
            } else if runner_key(runner).is_some_and(|key| present.contains(&key)) {
                Presence::Gone
            } else {
                Presence::Unknown
            }
        });
        self.say_short(unplaced);
        Ok(())
    }

    /// To be asked before each act.
    fn kept(&self, fence: Fence) -> Result<(), Ended> {
        if self.lease.fence() == Some(fence) { Ok(()) } else { Err(Ended::Lost) }
    }

    /// What each host is to be given, those that are gone and may come back among them.
    fn shares(
        &self,
        desk: &Desk,
        members: &BTreeMap<ClusterHost, Member>,
        heard: &Heard,
    ) -> (BTreeMap<ClusterHost, GivenTo>, BTreeMap<PoolName, u32>) {
        let before: BTreeMap<&ClusterHost, &GivenTo> = desk.given().collect();
        let (no_share, no_words) = (ForgeShare::default(), Words::new());
        let share_of = |host: &ClusterHost| before.get(host).map_or(&no_share, |given| &given.share);
        let words = words_by_key(heard);
        let words_of = |instance: &str| words.get(instance).unwrap_or(&no_words);
        let name = self.forge.name();
        // Pools of which the forge has said nothing yet stay as they are.
        let is_heard = |pool: &&PoolSpec| heard.assigned.contains_key(&pool.name);
        let pools: Vec<PoolSpec> = self.pools.iter().filter(is_heard).cloned().collect();
        let counted = |pool: &PoolSpec| Counted {
            pool: pool.name.clone(),
            shape: pool.shape.clone(),
            jobs: heard.assigned.get(&pool.name).map_or(0, |jobs| jobs.all),
        };
        let counted: Vec<Counted> = pools.iter().map(counted).collect();
        let sharers: Vec<Sharer> = members
            .values()
            .map(|member| {
                let Identity { host, instance, .. } = &member.identity;
                hosts::sharer(member, name, &pools, words_of(instance), share_of(host))
            })
            .collect();
        let mut sharing = share(&counted, &sharers);
        for (pool, jobs) in heard.assigned.iter().filter(|(_, jobs)| jobs.held_back > 0) {
            let unplaced = sharing.unplaced.entry(pool.clone()).or_default();
            *unplaced = unplaced.saturating_add(jobs.held_back);
        }
        let mut dealt = jobs_by_host(heard, &sharing.given, &before);
        let mut all = BTreeMap::new();
        for (host, member) in members {
            let instance = member.identity.instance.clone();
            let words = words_of(&instance).clone();
            let is_kept = |pool: &PoolName| !heard.assigned.contains_key(pool) && self.has(pool);
            let ForgeShare { mut pools, counted: mut known, .. } = share_of(host).clone();
            pools.retain(|pool, _| is_kept(pool));
            pools.extend(sharing.given.remove(host).unwrap_or_default());
            known.retain(|pool, _| is_kept(pool));
            let mut counted = hosts::counted(member, name, &words);
            counted.retain(|pool, _| !is_kept(pool));
            counted.extend(known);
            let jobs = dealt.remove(host).unwrap_or_default();
            all.insert(host.clone(), GivenTo { instance, share: ForgeShare { pools, counted, jobs, words } });
        }
        for (host, given) in before {
            if !all.contains_key(host) {
                let share = ForgeShare { words: words_of(&given.instance).clone(), ..ForgeShare::default() };
                all.insert(host.clone(), GivenTo { instance: given.instance.clone(), share });
            }
        }
        (all, sharing.unplaced)
    }

    fn has(&self, pool: &PoolName) -> bool {
        self.pools.iter().any(|its| its.name == *pool)
    }

    fn say_short(&self, unplaced: BTreeMap<PoolName, u32>) {
        let forge = self.forge.name();
        self.shortage.send_if_modified(|known| {
            let before = known.clone();
            known.retain(|(of, _), _| of != forge);
            known.extend(unplaced.into_iter().map(|(pool, jobs)| ((forge.clone(), pool), jobs)));
            *known != before
        });
    }
}

/// Of the jobs that wait those that each host is to have runners for, by pool.
fn jobs_by_host(
    heard: &Heard,
    given: &BTreeMap<ClusterHost, BTreeMap<PoolName, AssignedJobs>>,
    before: &BTreeMap<&ClusterHost, &GivenTo>,
) -> BTreeMap<ClusterHost, BTreeMap<PoolName, Vec<RemoteJob>>> {
    let mut all: BTreeMap<ClusterHost, BTreeMap<PoolName, Vec<RemoteJob>>> = BTreeMap::new();
    for (pool, waiting) in &heard.waiting {
        let wanting = |(host, pools): (&ClusterHost, &BTreeMap<PoolName, AssignedJobs>)| {
            let jobs = pools.get(pool)?;
            let before = before.get(host).and_then(|given| given.share.jobs.get(pool)).cloned();
            let count = jobs.all.saturating_sub(jobs.running);
            Some((host.clone(), Wanting { count, before: before.unwrap_or_default() }))
        };
        let hosts = given.iter().filter_map(wanting).collect();
        for (host, jobs) in deal(waiting, &hosts) {
            all.entry(host).or_default().insert(pool.clone(), jobs);
        }
    }
    all
}

/// What the forge says of runners, by the key of the host that has them.
fn words_by_key(heard: &Heard) -> BTreeMap<&str, Words> {
    let mut all: BTreeMap<&str, Words> = BTreeMap::new();
    for (runner, word) in &heard.words {
        if let Some(key) = runner_key(runner) {
            all.entry(key).or_default().insert(runner.clone(), word.clone());
        }
    }
    all
}
