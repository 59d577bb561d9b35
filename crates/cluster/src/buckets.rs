//! The cluster's buckets, and the version of what is in them.

use std::time::Duration;

use async_nats::jetstream::kv;
use async_nats::jetstream::stream::StorageType;
use fireactions_model::ClusterName;
use serde::{Deserialize, Serialize};

use crate::bucket::Bucket;
use crate::link::Link;
use crate::trouble::Trouble;

/// The version of keys and values that this program speaks. A host that reads another one does nothing.
pub const PROTOCOL: u32 = 1;

/// A host that has told nothing for as long is gone.
pub const HOST_TTL: Duration = Duration::from_secs(10);
/// A lease that was not renewed for as long is anybody's.
pub(crate) const LEASE_TTL: Duration = Duration::from_secs(3);

/// The key of the version.
const KEY: &str = "protocol";
/// Most bytes of a bucket, and of a value: less than what NATS takes in one message. A host's value has some hundred bytes for each of
/// its pools and its runners, a share some hundred for each runner that has a job.
const BUCKET: i64 = 64 << 20;
const VALUE: i32 = 900 << 10;

/// The buckets, open.
#[derive(Debug, Clone)]
pub struct Buckets {
    pub(crate) hosts: Bucket,
    pub(crate) leases: Bucket,
    pub(crate) shares: Bucket,
}

#[derive(Debug, Serialize, Deserialize)]
struct Protocol {
    version: u32,
}

impl Buckets {
    /// Opens them, and makes those that are not there.
    ///
    /// # Errors
    /// When they cannot be made, or the cluster's hosts speak another protocol.
    pub async fn open_or_make(link: &Link) -> Result<Self, Trouble> {
        let cluster = &link.settings.cluster;
        let lasting = Box::pin(Bucket::open_or_make(link, config(cluster, "", None))).await?;
        // Whoever is first says it.
        lasting.create(KEY, &Protocol { version: PROTOCOL }).await?;
        check(&lasting).await?;
        Ok(Self {
            hosts: Box::pin(Bucket::open_or_make(link, config(cluster, "-hosts", Some(HOST_TTL)))).await?,
            leases: Box::pin(Bucket::open_or_make(link, config(cluster, "-leases", Some(LEASE_TTL)))).await?,
            shares: Box::pin(Bucket::open_or_make(link, config(cluster, "-shares", None))).await?,
        })
    }

    /// Opens them, if they are there.
    ///
    /// # Errors
    /// When they are not, or the cluster's hosts speak another protocol.
    pub async fn open(link: &Link) -> Result<Self, Trouble> {
        let cluster = &link.settings.cluster;
        check(&Box::pin(Bucket::open(link, &name(cluster, ""))).await?).await?;
        Ok(Self {
            hosts: Box::pin(Bucket::open(link, &name(cluster, "-hosts"))).await?,
            leases: Box::pin(Bucket::open(link, &name(cluster, "-leases"))).await?,
            shares: Box::pin(Bucket::open(link, &name(cluster, "-shares"))).await?,
        })
    }
}

async fn check(lasting: &Bucket) -> Result<(), Trouble> {
    let found = lasting.get::<Protocol>(KEY).await?;
    let theirs = found.map_or(PROTOCOL, |found| found.value.version);
    if theirs == PROTOCOL { Ok(()) } else { Err(Trouble::Protocol { theirs, ours: PROTOCOL }) }
}

fn name(cluster: &ClusterName, which: &str) -> String {
    format!("fireactions-{cluster}{which}")
}

fn config(cluster: &ClusterName, which: &str, ttl: Option<Duration>) -> kv::Config {
    kv::Config {
        bucket: name(cluster, which),
        description: format!("fireactions: hosts of the cluster '{cluster}'"),
        max_value_size: VALUE,
        max_bytes: BUCKET,
        history: 1,
        max_age: ttl.unwrap_or_default(),
        // What is in memory is gone with its server, and revisions begin anew.
        storage: StorageType::File,
        ..kv::Config::default()
    }
}
