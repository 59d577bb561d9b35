//! The cluster's hosts as callers of this one's API reach them, by NATS.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use fireactions_api::{Code, Fault, FleetCounts, HostAnswer, HostDoor, HostEntry, HostRequest, Hosts};
use fireactions_cluster::{Link, Member, Trouble, answer, ask};
use fireactions_model::ClusterHost;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The hosts.
pub(in crate::server) struct Others {
    pub(super) own: ClusterHost,
    pub(super) link: watch::Receiver<Option<Link>>,
    pub(super) roster: watch::Receiver<Arc<BTreeMap<ClusterHost, Member>>>,
}

/// What goes from host to host.
#[derive(Serialize, Deserialize)]
struct Question {
    /// The host that passes it on.
    from: ClusterHost,
    request: HostRequest,
}

impl Others {
    /// Answers what this host is asked by others, until `stop`.
    pub(in crate::server) async fn answer(self: Arc<Self>, door: HostDoor, stop: CancellationToken) {
        let mut link = self.link.clone();
        let connected = async { link.wait_for(Option::is_some).await.ok()?.clone() };
        let Some(link) = stop.run_until_cancelled(connected).await.flatten() else { return };
        let respond = move |question: bytes::Bytes| {
            let door = door.clone();
            async move {
                let answer = match serde_json::from_slice::<Question>(&question) {
                    Ok(Question { from, request }) => door.answer(from.as_str(), request).await,
                    Err(error) => HostAnswer {
                        status: 400,
                        body: format!("a question that cannot be read: {error}"),
                        content_type: "text/plain".to_owned(),
                    },
                };
                serde_json::to_vec(&answer).unwrap_or_default()
            }
        };
        answer(link, self.own.clone(), respond, stop).await;
    }
}

#[async_trait]
impl Hosts for Others {
    fn list(&self) -> Vec<HostEntry> {
        let hosts = self.roster.borrow().clone();
        let entry = |(name, member): (&ClusterHost, &Member)| HostEntry {
            name: name.to_string(),
            this: *name == self.own,
            version: member.identity.version.clone(),
            zone: member.identity.zone.clone(),
            drained: member.load.drained,
            leads: member.load.leads.iter().map(ToString::to_string).collect(),
        };
        let mut all: Vec<HostEntry> = hosts.iter().map(entry).collect();
        all.sort_by_key(|entry| !entry.this);
        all
    }

    fn counts(&self) -> FleetCounts {
        let hosts = self.roster.borrow().clone();
        let mut counts =
            FleetCounts { hosts: u64::try_from(hosts.len()).unwrap_or(u64::MAX), ..FleetCounts::default() };
        for member in hosts.values() {
            counts.drained += u64::from(member.load.drained);
            // Each forge's are told by the host that listens to it, and a pool has one forge.
            for (pool, jobs) in &member.load.unplaced {
                let known = counts.unplaced.entry(pool.clone()).or_default();
                *known = (*known).max(*jobs);
            }
        }
        counts
    }

    async fn ask(&self, host: &str, request: HostRequest) -> Result<HostAnswer, Fault> {
        let host = ClusterHost::new(host)
            .map_err(|error| Fault::invalid(format!("'{host}' is no host's name: {error}")))?;
        let Some(link) = self.link.borrow().clone() else {
            return Err(Fault::unavailable("this host has not reached the cluster's NATS yet")
                .hint("`fireactions cluster check` says what is wrong"));
        };
        let question = Question { from: self.own.clone(), request };
        let question = serde_json::to_vec(&question)
            .map_err(|error| Fault::internal(format!("the question cannot be written: {error}")))?;
        let answered = Box::pin(ask(&link, &host, question)).await.map_err(|trouble| match &trouble {
            Trouble::NoHost(_) => Fault::not_found(trouble.to_string()),
            Trouble::Late { .. } => Fault::new(Code::Timeout, trouble.to_string()),
            _ => Fault::unavailable(trouble.to_string()),
        })?;
        serde_json::from_slice(&answered).map_err(|error| {
            Fault::unavailable(format!("the host '{host}' sent an answer that cannot be read: {error}"))
                .hint("the hosts may be of different versions; `fireactions cluster status` shows them")
        })
    }
}
