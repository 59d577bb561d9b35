//! The host that has a forge's lease: it listens to the forge, and gives each host its share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fireactions_cluster::{Desk, Fence, Lease, Link, Member, Trouble};
use fireactions_forge::{Earlier, HostedForge, Presence, runner_key};
use fireactions_model::{ClusterHost, ExponentialBackoff, ForgeName, ForgeShare, PoolName, PoolSpec};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::hosts;
use crate::shares::{Known, Shares};

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
        let Some(mut desk) = self.desk(fence, &mut pauses, stop).await else { return };
        let words = desk.given().values().flat_map(|given| given.share.share.words.clone()).collect();
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
                    // What could not be written may be there all the same, and a host may go by it.
                    match self.desk(fence, &mut pauses, stop).await {
                        Some(now) => desk = now,
                        None => break,
                    }
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

    /// What is written already. Nothing once this host has no lease any more, or at `stop`.
    async fn desk(
        &self,
        fence: Fence,
        pauses: &mut ExponentialBackoff,
        stop: &CancellationToken,
    ) -> Option<Desk> {
        while self.lease.fence() == Some(fence) && !stop.is_cancelled() {
            match Desk::open(&self.link, self.forge.name(), fence).await {
                Ok(desk) => return Some(desk),
                Err(trouble) => {
                    tracing::warn!(forge = %self.forge.name(), %trouble, "the shares of the forge's jobs cannot be read");
                    sleep(pauses.failed(rand::random())).await;
                }
            }
        }
        None
    }

    /// Gives every host what is its own now.
    async fn look(&self, desk: &mut Desk, fence: Fence) -> Result<(), Ended> {
        let members = self.roster.borrow().clone();
        let name = self.forge.name();
        self.forge.set_shared_capacity(hosts::capacity(members.values(), name));
        self.forge.set_reports(members.values().filter_map(|member| member.load.forges.get(name)));
        let Some(heard) = self.forge.heard_so_far() else { return self.kept(fence) };
        let (pools, before) = (&self.pools, desk.given());
        let Shares { given, unplaced } =
            Known { forge: name, pools, members: &members, before, heard: &heard }.shares();
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
