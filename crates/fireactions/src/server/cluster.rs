//! This host in its cluster: what the others are told of it, and the jobs that they share.

mod others;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use fireactions_cluster::{CredsSource, Ends, Identity, Load, Membership, PROTOCOL, PoolLoad, Settings};
use fireactions_config::{ClusterConfig, Config};
use fireactions_forge::{Forges, HostedForge};
use fireactions_model::{ClusterHost, MachineId, PoolView};
use fireactions_pool::PoolHandle;
use fireactions_sharing::{Deliveries, Shortage};
use fireactions_store::Store;
use jiff::Timestamp;
pub(super) use others::Others;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::credentials;

/// How the cluster's NATS is reached; nothing where the configuration has none.
pub(crate) fn settings(config: &Config) -> anyhow::Result<Option<Settings>> {
    let Some(cluster) = &config.cluster else { return Ok(None) };
    let nats = &cluster.nats;
    let directory = credentials::directory();
    let key = |at: &str| format!("cluster.nats.tls.{at}");
    let certificate = match (&nats.tls.cert_file, &nats.tls.key_file) {
        (Some(certificate), Some(file)) => {
            // The client reads it by itself; whether others can is looked at here.
            file.read(directory.as_deref()).with_context(|| key("key_file"))?;
            Some((certificate.to_path_buf(), file.path(directory.as_deref())?))
        }
        _ => None,
    };
    let creds = nats.creds_file.clone().map(|file| {
        let read = move || file.read(credentials::directory().as_deref()).map_err(|error| error.to_string());
        Arc::new(read) as CredsSource
    });
    Ok(Some(Settings {
        cluster: cluster.name.clone(),
        host: host(cluster)?,
        urls: nats.urls.iter().map(|url| url.as_str().to_owned()).collect(),
        require_tls: nats.urls.iter().any(|url| !url.is_on_this_host()),
        creds,
        ca_file: nats.tls.ca_file.as_ref().map(|path| path.to_path_buf()),
        certificate,
    }))
}

/// The name of this host in the cluster.
fn host(cluster: &ClusterConfig) -> anyhow::Result<ClusterHost> {
    if let Some(name) = &cluster.host.name {
        return Ok(name.clone());
    }
    let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let first = own.split('.').next().unwrap_or_default();
    ClusterHost::new(first).map_err(|_| {
        anyhow!("this host's own name '{own}' cannot be its name in the cluster: set cluster.host.name")
    })
}

/// A membership that goes on until its end.
pub(super) struct Joined {
    pub(super) tasks: Vec<JoinHandle<()>>,
    pub(super) others: Arc<Others>,
    /// What passes webhook deliveries on to the other hosts.
    pub(super) deliveries: Deliveries,
}

/// Joins the cluster that the configuration names, stays in it until the end, and shares the jobs of `forges` with its hosts. NATS need
/// not be there.
///
/// # Errors
/// When this host has no name for it, or the store cannot be read.
pub(super) async fn join(
    config: &Config,
    store: &Store,
    pools: &PoolHandle,
    forges: &Forges,
    ends: Ends,
) -> anyhow::Result<Option<Joined>> {
    let (Some(settings), Some(cluster)) = (settings(config)?, &config.cluster) else { return Ok(None) };
    let random = || MachineId::from_random(rand::random()).as_str()[1..].to_owned();
    let instance = store.runner_key(&random()[..6]).await.context("this host's key could not be read")?;
    let identity = Identity {
        host: settings.host.clone(),
        instance,
        run: random(),
        since: Timestamp::now(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: PROTOCOL,
        zone: cluster.host.zone.clone(),
        labels: cluster.host.labels.iter().map(|label| label.label().clone()).collect(),
    };
    let forges: Vec<HostedForge> = forges.hosted().cloned().collect();
    let (handle, told, shortage) = (pools.clone(), forges.clone(), watch::Sender::<Shortage>::default());
    let short = shortage.subscribe();
    let membership =
        Membership::new(settings, identity, Arc::new(move || load(&handle, &told, &short.borrow())));
    let host = fireactions_sharing::Host::of(&membership);
    let others =
        Others { own: host.identity.host.clone(), link: host.link.clone(), roster: host.roster.hosts() };
    let (deliveries, stop) = (host.deliveries(), ends.stop.clone());
    let sharing = fireactions_sharing::run(host, forges, config.pools(), shortage, stop);
    let tasks = vec![tokio::spawn(membership.run(ends)), tokio::spawn(sharing)];
    Ok(Some(Joined { tasks, others: Arc::new(others), deliveries }))
}

/// What the pools and the host are like now.
fn load(pools: &PoolHandle, forges: &[HostedForge], shortage: &Shortage) -> Load {
    let host = pools.host();
    let all: BTreeMap<_, _> =
        pools.list().into_iter().map(|view| (view.spec.name.clone(), pool_load(&view))).collect();
    Load {
        drained: host.drained.is_some(),
        vcpus: host.budget.vcpus,
        memory_mib: host.budget.memory_mib,
        room: pools.room(),
        pools: all,
        leads: forges.iter().filter(|forge| forge.leads()).map(|forge| forge.name().clone()).collect(),
        unplaced: shortage.iter().map(|((_, pool), jobs)| (pool.clone(), *jobs)).collect(),
        forges: forges.iter().map(|forge| (forge.name().clone(), forge.report())).collect(),
    }
}

fn pool_load(view: &PoolView) -> PoolLoad {
    PoolLoad {
        max: if view.paused { 0 } else { view.max_runners },
        machines: view.machines.clone(),
        queued: view.queued,
        holds_back: view.paused || view.backoff.is_some(),
    }
}
