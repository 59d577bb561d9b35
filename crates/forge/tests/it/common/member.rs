//! A host's part in a cluster, by a real NATS.

use std::collections::BTreeMap;
use std::sync::Arc;

use fireactions_cluster::{
    Ends, Identity, Link, Load, Membership, PROTOCOL, PoolLoad, Settings, Standing, look,
};
use fireactions_forge::HostedForge;
use fireactions_model::{ClusterHost, ClusterName, MachineState, PoolSpec};
use fireactions_sharing::Deliveries;
use fireactions_testkit::real_nats::RealNats;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::github::farm::until;

/// A member, with a forge whose jobs it shares.
pub(crate) struct Member {
    pub(crate) standing: watch::Receiver<Standing>,
    pub(crate) deliveries: Deliveries,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

fn settings(nats: &RealNats, host: &str) -> Settings {
    Settings {
        cluster: ClusterName::new("ci").unwrap(),
        host: ClusterHost::new(host).unwrap(),
        urls: vec![nats.url()],
        require_tls: false,
        creds: None,
        ca_file: None,
        certificate: None,
    }
}

impl Member {
    /// `instance` is the key in the names of the host's runners; `watched` gives how many machines it has, and how many of them
    /// wait.
    pub(crate) fn join(
        (name, nats): (&str, &RealNats),
        forge: &HostedForge,
        pools: &[PoolSpec],
        instance: String,
        watched: impl Fn() -> (u32, u32) + Send + Sync + 'static,
    ) -> Self {
        let identity = Identity {
            host: ClusterHost::new(name).unwrap(),
            instance,
            run: format!("{name}-{}", rand::random::<u32>()),
            since: Timestamp::now(),
            version: "1.2.3".to_owned(),
            protocol: PROTOCOL,
            zone: None,
            labels: fireactions_model::Labels::new(),
        };
        let (told, its) = (forge.clone(), pools.to_vec());
        let load = move || {
            let (all, idle) = watched();
            let of_pool = |pool: &PoolSpec| {
                let machines = [(MachineState::Ready, idle), (MachineState::Busy, all - idle)];
                let max = pool.max_runners;
                let load = PoolLoad { max, machines: BTreeMap::from(machines), ..PoolLoad::default() };
                (pool.name.clone(), load)
            };
            Load {
                pools: its.iter().map(of_pool).collect(),
                forges: BTreeMap::from([(told.name().clone(), told.report())]),
                ..Load::default()
            }
        };
        let membership = Membership::new(settings(nats, name), identity, Arc::new(load));
        let (standing, stop) = (membership.standing(), CancellationToken::new());
        let host = fireactions_sharing::Host::of(&membership);
        let deliveries = host.deliveries();
        let ends = Ends { stop: stop.clone(), hand_over: CancellationToken::new() };
        let shortage = watch::Sender::default();
        let sharing =
            fireactions_sharing::run(host, vec![forge.clone()], pools.to_vec(), shortage, stop.clone());
        let tasks = vec![tokio::spawn(membership.run(ends)), tokio::spawn(sharing)];
        Self { standing, deliveries, stop, tasks }
    }

    pub(crate) async fn joined(&self) {
        self.standing.clone().wait_for(|standing| *standing == Standing::Member).await.unwrap();
    }

    pub(crate) async fn leave(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
    }

    /// As a crash ends it.
    pub(crate) async fn die(self) {
        for task in &self.tasks {
            task.abort();
        }
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

/// The host that listens.
pub(crate) async fn leader(nats: &RealNats) -> String {
    let link = Link::open(&settings(nats, "looker")).await.unwrap();
    let asking = until("a leader", || async {
        // Whoever is first makes the buckets.
        let leaders = Box::pin(look(&link)).await.ok()?.leaders;
        leaders.first().map(|leader| leader.host.to_string())
    });
    Box::pin(asking).await
}
