//! The cluster as it is now, for people.

use fireactions_model::ClusterHost;
use jiff::Timestamp;

use crate::buckets::Buckets;
use crate::lease::Holder;
use crate::link::Link;
use crate::member::Member;
use crate::trouble::Trouble;

/// Who has a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// Of what.
    pub lease: String,
    /// The host.
    pub host: ClusterHost,
    /// Since when.
    pub since: Timestamp,
}

/// All that is known of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterState {
    /// Its hosts, by name.
    pub hosts: Vec<Member>,
    /// Who leads what.
    pub leaders: Vec<Leader>,
}

/// Reads it.
///
/// # Errors
/// When NATS is not as the cluster needs it.
pub async fn look(link: &Link) -> Result<ClusterState, Trouble> {
    let buckets = Buckets::open(link).await?;
    let hosts = buckets.hosts.all::<Member>().await?;
    let leases = buckets.leases.all::<Holder>().await?;
    let leader = |(lease, holder): (String, Holder)| Leader { lease, host: holder.host, since: holder.since };
    Ok(ClusterState {
        hosts: hosts.into_iter().map(|(_, member)| member).collect(),
        leaders: leases.into_iter().map(leader).collect(),
    })
}
