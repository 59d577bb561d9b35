//! The hosts of a cluster share the jobs of a forge.
//!
//! ```text
//!  every host   tells the others what it has, and follows its own share of each forge
//!  one of them  has the forge's lease: it listens to the forge, shares the jobs, and passes on what the forge says of runners
//! ```
//!
//! What it promises:
//! - The forge's count is shared, never multiplied: whoever holds the lease writes the shares, and writes go by the lease's fence.
//! - A host makes its own runners, with its own credentials, for what it was given; no secret goes from host to host.
//! - A host that the others do not hear of takes no new jobs, and goes on with those that it has.

mod deliveries;
mod follow;
mod hosts;
mod jobs;
mod lead;
mod shares;

use std::sync::Arc;

use fireactions_cluster::{
    Identity, Lease, LeaseName, LeaseTiming, Link, Membership, Roster, Standing, follow as follow_share,
};
use fireactions_forge::HostedForge;
use fireactions_model::PoolSpec;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use deliveries::Deliveries;
pub use lead::Shortage;

/// What sharing needs of this host.
#[derive(Clone)]
pub struct Host {
    /// Who it is.
    pub identity: Identity,
    /// Its connection, once there is one.
    pub link: watch::Receiver<Option<Link>>,
    /// Whether the others know of it.
    pub standing: watch::Receiver<Standing>,
    /// Notified when the others should hear of this host at once.
    pub news: Arc<Notify>,
    /// All hosts; kept right while this runs.
    pub roster: Roster,
}

impl Host {
    /// The host of this membership, which runs beside.
    pub fn of(membership: &Membership) -> Self {
        Self {
            identity: membership.identity().clone(),
            link: membership.link(),
            standing: membership.standing(),
            news: membership.news(),
            roster: Roster::default(),
        }
    }

    /// What passes the forges' deliveries on to the other hosts.
    pub fn deliveries(&self) -> Deliveries {
        Deliveries { link: self.link.clone() }
    }
}

/// Shares the jobs of these forges with the other hosts until `stop`. `pools` are all pools of the configuration. The forges' own
/// [`run`](HostedForge::run) goes on beside. `shortage` is told what the forges that this host leads have no host for.
pub async fn run(
    host: Host,
    forges: Vec<HostedForge>,
    pools: Vec<PoolSpec>,
    shortage: watch::Sender<Shortage>,
    stop: CancellationToken,
) {
    let Some(link) = stop.run_until_cancelled(connected(host.link.clone())).await.flatten() else { return };
    let roster = host.roster.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(roster.clone().run(link.clone(), stop.clone()));
    for forge in forges {
        let lease =
            Lease::new(&link, LeaseName::forge(forge.name()), host.identity.clone(), LeaseTiming::default());
        tasks.spawn(lease.clone().run(stop.clone()));
        let share = watch::Sender::new(None);
        let (name, own) = (forge.name().clone(), host.identity.host.clone());
        tasks.spawn(follow_share(
            link.clone(),
            name,
            own,
            host.standing.clone(),
            share.clone(),
            stop.clone(),
        ));
        tasks.spawn(deliveries::take(link.clone(), forge.clone(), stop.clone()));
        tasks.spawn(follow::take(forge.clone(), share.subscribe(), stop.clone()));
        tasks.spawn(follow::report(forge.clone(), Arc::clone(&host.news), stop.clone()));
        let leader = lead::Leader {
            link: link.clone(),
            lease,
            roster: roster.hosts(),
            pools: pools.clone(),
            forge,
            shortage: shortage.clone(),
        };
        tasks.spawn(leader.run(stop.clone()));
    }
    while tasks.join_next().await.is_some() {}
}

async fn connected(mut link: watch::Receiver<Option<Link>>) -> Option<Link> {
    link.wait_for(Option::is_some).await.ok()?.clone()
}
