//! All hosts of the cluster, as they last told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fireactions_model::{ClusterHost, ExponentialBackoff};
use futures::StreamExt;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::bucket::{Change, Value};
use crate::buckets::{Buckets, HOST_TTL};
use crate::link::Link;
use crate::member::Member;
use crate::trouble::Trouble;

/// How often it is looked at who has told nothing for too long.
const LOOK: Duration = Duration::from_secs(1);
/// Pauses after errors.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// The hosts. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Roster {
    hosts: watch::Sender<Arc<BTreeMap<ClusterHost, Member>>>,
}

impl Roster {
    /// The hosts now, and whenever one tells something, comes or goes.
    pub fn hosts(&self) -> watch::Receiver<Arc<BTreeMap<ClusterHost, Member>>> {
        self.hosts.subscribe()
    }

    /// Keeps it right until `stop`. While NATS is not there, hosts go from it as they do from NATS.
    pub async fn run(self, link: Link, stop: CancellationToken) {
        let mut known = BTreeMap::new();
        let mut pauses = ExponentialBackoff::new(PAUSES.0, PAUSES.1);
        let follow = async {
            loop {
                let trouble = Box::pin(self.follow(&link, &mut known, &mut pauses)).await;
                tracing::debug!(%trouble, "the cluster's hosts cannot be followed; trying again");
                // They go all the same.
                let wait = pauses.failed(rand::random());
                sleep(wait).await;
                self.expire(&mut known);
            }
        };
        let _ = stop.run_until_cancelled(follow).await;
    }

    async fn follow(
        &self,
        link: &Link,
        known: &mut BTreeMap<ClusterHost, (Member, Instant)>,
        pauses: &mut ExponentialBackoff,
    ) -> Trouble {
        let opened = async { Buckets::open_or_make(link).await?.hosts.watch::<Member>(">").await };
        let mut changes = match Box::pin(opened).await {
            Ok(changes) => changes,
            Err(trouble) => return trouble,
        };
        pauses.succeeded();
        loop {
            let change = tokio::select! {
                change = changes.next() => change,
                () = sleep(LOOK) => {
                    self.expire(known);
                    continue;
                }
            };
            match change {
                Some(Ok(Change { key, value })) => {
                    let Ok(host) = ClusterHost::new(key) else { continue };
                    match value {
                        Some(Value { value: member, .. }) => known.insert(host, (member, Instant::now())),
                        None => known.remove(&host),
                    };
                    self.tell(known);
                }
                // What a host of another version tells is not read; the others' is.
                Some(Err(Trouble::Odd { key, why, .. })) => {
                    tracing::warn!(host = key, why, "what a host of the cluster tells cannot be read");
                }
                Some(Err(trouble)) => return trouble,
                None => return link.unreachable(),
            }
        }
    }

    fn expire(&self, known: &mut BTreeMap<ClusterHost, (Member, Instant)>) {
        let before = known.len();
        known.retain(|_, (_, told)| told.elapsed() < HOST_TTL);
        if known.len() != before {
            self.tell(known);
        }
    }

    fn tell(&self, known: &BTreeMap<ClusterHost, (Member, Instant)>) {
        let all = known.iter().map(|(host, (member, _))| (host.clone(), member.clone())).collect();
        self.hosts.send_replace(Arc::new(all));
    }
}
