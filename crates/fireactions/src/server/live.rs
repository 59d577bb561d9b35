//! A server's running parts: started in order, and stopped or handed over in reverse.
//!
//! The order is that of a crash at any moment: nothing that runs is touched before the state is ours, what runs is
//! taken over before anything new is made, and clients are served when what they ask about is there. A failure on
//! the way leaves machines as they are for the next start.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use fireactions_api::{Api, Limits, Target, Version};
use fireactions_config::{Config, Host};
use fireactions_forge::Forges;
use fireactions_forge::local::LocalForge;
use fireactions_image::Images;
use fireactions_machine::{Machinery, Parts};
use fireactions_model::{Event, Machines, ShutdownMode};
use fireactions_net::Network;
use fireactions_pool::{Budget, Controller, Ends};
use fireactions_store::Store;
use fireactions_telemetry::Counts;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::actions_cache::ActionsCache;
use super::engine::{Caches, FetchedImages, ServerEngine, Told, Usages};
use super::listen::Listeners;
use super::looked::{LastLook, Looked};
use super::notify::Notifier;
use super::prepare::Preparation;
use super::signals::Signals;
use super::sockets::{Role, Sockets};
use super::sticky::Sticky;
use super::watchdog::Vitals;
use super::{build, cluster, forges, handover, housekeeping, listen, origins, overrides, telemetry, webhook};
use crate::registry_cache;

/// Events that a slow listener may be behind; one that is further behind misses some and is right again after the
/// next event of the same thing.
const EVENTS: usize = 4096;
/// Connections that were taken get this long to bring their first request before listeners close at a handover, and
/// clients that ask again and again to come by a new connection.
const LAST_REQUESTS: Duration = Duration::from_millis(200);
/// The controller and the housekeeping end between two of their steps, each of which has a deadline below this.
const TASK_END: Duration = Duration::from_secs(20);
/// How much longer the service manager is asked to wait, again and again while jobs are waited for.
const EXTENSION: Duration = Duration::from_secs(60);

/// Who is logged in, in the state directory.
const SESSIONS: &str = "sessions.json";
/// How the last hours were.
const HISTORY: &str = "history.json";

/// What parts are made from, time and again.
pub(super) struct Setup {
    pub(super) host: Host,
    pub(super) config: Arc<Config>,
    pub(super) told: Arc<Told>,
    pub(super) preparation: Preparation,
}

/// The parts.
pub(super) struct Live {
    store: Store,
    images: Images,
    network: Network,
    machines: Machinery,
    last_look: LastLook,
    api: Api,
    listeners: Listeners,
    /// Sockets by name, to be handed on.
    sockets: Sockets,
    /// Servers that want to take over.
    requests: mpsc::Receiver<handover::Request>,
    door: Option<JoinHandle<()>>,
    tasks: Vec<JoinHandle<()>>,
    /// Tells of jobs that have ended, until `told`.
    telling: Option<JoinHandle<()>>,
    told: CancellationToken,
    rules: JoinHandle<()>,
    /// Sees to the pools until `freeze` or `stopping`.
    controller: JoinHandle<()>,
    freeze: CancellationToken,
    /// No new work is taken; the tasks end.
    stopping: CancellationToken,
    /// The machines' rules need no more keeping.
    network_done: CancellationToken,
}

impl Live {
    /// Starts everything. With `taking_over`, the server before is just going, and what it still holds is waited for.
    pub(super) async fn start(
        setup: &mut Setup,
        mut sockets: Sockets,
        taking_over: bool,
    ) -> anyhow::Result<Self> {
        let Setup { host, config, told: answers, preparation } = setup;
        // The lock first: nothing may be touched while another server runs on the same state.
        let store = build::store(config, taking_over).await?;
        for name in build::claims(config) {
            if !sockets.names().iter().any(|held| held.is_at(&name)) {
                let claim = build::claim(&name).await?;
                sockets.add(name, claim);
            }
        }
        // Bound long before they are served: an address that is taken is told before any machine is touched, and
        // clients that come early wait.
        if sockets.names().iter().any(|name| name.role == Role::Api && name.ours) {
            listen::permit(config)?;
        }
        sockets.extend(listen::bind_missing(config, &sockets.names()).await?);
        if !sockets.has(Role::Handover) {
            match listen::bind_handover(&config.state_dir.join(handover::SOCKET)) {
                Ok((name, socket)) => sockets.add(name, socket),
                Err(error) => tracing::warn!("`server --replace` will not work: {error:#}"),
            }
        }
        let dirs = build::StateDirs::of(&config.state_dir);
        dirs.sweep()?;
        let images = build::images(config, &dirs).await?;
        // A failed preparation waits for the network, which no cancellation must leave half-made.
        let (network, prepared) = tokio::join!(build::network(config), preparation.get());
        let (network, prepared) = (network?, prepared?);

        let (events, heard) = broadcast::channel::<Event>(EVENTS);
        let forge = LocalForge::new(store.clone(), events.clone(), build::forge_settings(config)).await?;
        let cache = ActionsCache::open(config, &store, &network).await;
        let sticky = Sticky::open(config, &dirs, &store).await;
        // Forges are asked whose a job is only where that matters.
        let has_sticky = config.pools().iter().any(|pool| !pool.sticky.is_empty());
        let caches = origins::of_forges(cache.as_ref(), sticky.as_ref().filter(|_| has_sticky));
        let forges = Forges::new(forge.clone(), forges::hosted(config, &forge, &events, caches).await?);
        let driver = &prepared.driver;
        let machines = Machinery::new(Parts {
            store: store.clone(),
            images: images.clone(),
            network: network.clone(),
            volumes: sticky.as_ref().map(|sticky| sticky.volumes().clone()),
            vmm: Arc::clone(&driver.vmm),
            forge: Arc::new(forges.clone()),
            events: events.clone(),
            settings: Arc::clone(&prepared.settings),
        });
        recover(&machines, &forges).await?;

        let stopping = CancellationToken::new();
        let looked = Looked::new(Arc::new(machines.clone()));
        let last_look = looked.last();
        let controller = controller(config, host, &store, &forges, looked).await?;
        let pools = controller.handle();
        let progress = FetchedImages::default();
        let freeze = CancellationToken::new();
        let ends = Ends { stop: stopping.clone(), freeze: freeze.clone() };
        let controller = tokio::spawn(controller.run(ends));
        let ends = fireactions_cluster::Ends { stop: stopping.clone(), hand_over: freeze.clone() };
        let joined = cluster::join(config, &store, &pools, &forges, ends).await?;
        let mut tasks = vec![
            tokio::spawn(progress.clone().follow(events.subscribe(), stopping.clone())),
            tokio::spawn(housekeeping::run(
                forge.clone(),
                images.clone(),
                store.clone(),
                sticky.as_ref().map(|sticky| sticky.volumes().clone()),
                config.images.unused_for.as_ref().map(|time| time.0),
                stopping.clone(),
            )),
        ];
        let given = prepared.drop_ins.clone();
        tasks.push(tokio::spawn(registry_cache::keep_trust(Arc::clone(config), given, stopping.clone())));
        let (traces, told) = (Counts::default(), CancellationToken::new());
        let telling = match prepared.collector.clone() {
            Some(collector) => {
                let known = (store.clone(), machines.clone());
                let ends = told.clone();
                Some(telemetry::start(collector, (config, traces.clone()), known, heard, ends)?)
            }
            None => None,
        };
        if let Some(cache) = &cache {
            tasks.push(tokio::spawn(cache.clone().keep(stopping.clone())));
        }
        for forge in forges.hosted() {
            tasks.push(tokio::spawn(forge.clone().run(config.pools(), stopping.clone())));
        }
        // Rules are kept until the last machine is gone, so not only until `stopping`.
        let network_done = CancellationToken::new();
        let rules = tokio::spawn(housekeeping::keep_rules(network.clone(), network_done.clone()));

        let engine = ServerEngine {
            forge,
            forges: forges.clone(),
            store: store.clone(),
            machines: machines.clone(),
            usages: Usages::default(),
            pools,
            images: images.clone(),
            progress,
            events,
            state: config.state_dir.to_path_buf(),
            uploads: dirs.uploads.clone(),
            caches: Caches {
                actions: cache.clone(),
                sticky: sticky.map(|sticky| sticky.volumes().clone()),
                config: Arc::clone(config),
                counting: Arc::default(),
            },
            version: Version {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                vmm: driver.vmm.name().to_owned(),
                vmm_version: driver.version.clone(),
                accel: driver.accel.clone(),
                pid: std::process::id(),
            },
            traces,
            told: Arc::clone(answers),
            stopping: stopping.clone(),
        };
        let api = Api::new(Arc::new(engine), Limits::default())
            .with_keys(prepared.keys.clone(), Some(config.state_dir.join(SESSIONS)))
            .with_history(config.state_dir.join(HISTORY));
        let api = match prepared.oidc.clone() {
            Some(oidc) => api.with_oidc(oidc),
            None => api,
        };
        let deliveries = joined.as_ref().map(|joined| joined.deliveries.clone());
        let api = match joined {
            Some(joined) => {
                let api = api.with_hosts(joined.others.clone());
                tasks.extend(joined.tasks);
                tasks.push(tokio::spawn(joined.others.answer(api.host_door(), stopping.clone())));
                api
            }
            None => api,
        };
        let api = if config.metrics.compat { api.with_compat_metrics() } else { api };
        let webhook = webhook::router(
            forges.hosted().filter_map(|forge| Some((forge.clone(), config.webhook_path(forge.name())?))),
            deliveries.as_ref(),
        );
        let cache = cache.as_ref().map(ActionsCache::router);
        let listeners = listen::serve(&sockets, prepared.tcp, webhook, cache, &api)?;
        let (sender, requests) = mpsc::channel(1);
        let door = listen::unix(&sockets, Role::Handover)?.map(|socket| {
            let state = config.state_dir.to_path_buf();
            tokio::spawn(handover::answer(socket, state, sockets.names(), sender))
        });
        Ok(Self {
            store,
            images,
            network,
            machines,
            last_look,
            api,
            listeners,
            sockets,
            requests,
            door,
            tasks,
            telling,
            told,
            rules,
            controller,
            freeze,
            stopping,
            network_done,
        })
    }

    /// The next server that wants to take over. Pends for ever when nobody can ask.
    pub(super) async fn request(&mut self) -> handover::Request {
        match self.requests.recv().await {
            Some(request) => request,
            None => std::future::pending().await,
        }
    }

    /// What the watchdog looks at.
    pub(super) fn vitals(&self, config: &Config) -> Vitals {
        Vitals {
            store: self.store.clone(),
            last_look: self.last_look.clone(),
            machines: self.machines.clone(),
            api: Target::Socket(config.api_socket.to_path_buf()),
        }
    }

    /// Detaches from everything, for another server to take over: machines run on, jobs stay bound, clients wait. Gives
    /// the sockets, in which they wait.
    pub(super) async fn detach(self) -> Sockets {
        end(self.door.into_iter()).await;
        // First of all: nobody decides any more, so no refusal of what follows is taken for the host's state.
        self.freeze.cancel();
        join([self.controller].into_iter()).await;
        // While jobs go on.
        self.machines.settle().await;
        self.api.pause();
        tokio::time::sleep(LAST_REQUESTS).await;
        self.machines.detach().await;
        self.api.close();
        self.listeners.ended().await;
        self.stopping.cancel();
        self.network_done.cancel();
        self.told.cancel();
        join(self.tasks.into_iter().chain(self.telling).chain([self.rules])).await;
        self.images.close();
        self.store.close().await;
        self.sockets
    }

    /// The end without a successor, as `mode` says.
    pub(super) async fn stop(
        self,
        config: &Config,
        signals: &mut Signals,
        notifier: &Notifier,
    ) -> anyhow::Result<()> {
        let mode = ShutdownMode::from(config.shutdown.mode);
        self.stopping.cancel();
        end(self.door.into_iter()).await;
        // At once, for a machine that waits for its turn must not take a job meanwhile.
        let go = shut_down(&self.machines, config, signals, notifier);
        let (left, ()) = tokio::join!(go, join(self.tasks.into_iter().chain([self.controller])));
        self.api.close();
        self.listeners.ended().await;
        self.network_done.cancel();
        // After the last job's end.
        self.told.cancel();
        join(self.telling.into_iter().chain([self.rules])).await;
        if left == 0 {
            self.network.remove().await.context("the machines' network could not be removed")?;
        }
        self.images.close();
        self.store.close().await;
        self.sockets.remove();
        match (left, mode) {
            (0, _) => tracing::info!("stopped"),
            (left, ShutdownMode::Leave | ShutdownMode::Wait) => tracing::info!(
                machines = left,
                "stopped; these machines continue to run, and the next start takes them over"
            ),
            // With machines left, their taps still hang on the bridge.
            (left, ShutdownMode::Kill) => tracing::error!(
                machines = left,
                "stopped with machines not undone; the next start undoes them"
            ),
        }
        Ok(())
    }
}

/// Ends machines as `shutdown.mode` says; a second signal ends the waiting. Returns how many are left.
async fn shut_down(
    machines: &Machinery,
    config: &Config,
    signals: &mut Signals,
    notifier: &Notifier,
) -> usize {
    let mode = ShutdownMode::from(config.shutdown.mode);
    let patience = async {
        loop {
            notifier.extend(EXTENSION);
            tokio::time::sleep(EXTENSION / 3).await;
        }
    };
    tokio::select! {
        left = machines.shutdown(mode, config.shutdown.deadline.0) => left,
        left = patience => left,
        signal = signals.stop() => {
            if mode == ShutdownMode::Wait {
                tracing::info!("{signal} again: not waiting for running jobs; they continue");
                machines.shutdown(ShutdownMode::Leave, Duration::ZERO).await
            } else {
                tracing::info!("{signal} again: what is not undone yet is left to the next start");
                machines.detach().await;
                machines.views().len()
            }
        },
    }
}

/// Takes over what an earlier server left, first machines, then jobs.
async fn recover(machines: &Machinery, forges: &Forges) -> anyhow::Result<()> {
    let recovered = machines.recover().await.map_err(anyhow::Error::msg).context(
        "what an earlier server left could not be undone, and a start without that would leak resources",
    )?;
    if recovered != fireactions_machine::Recovered::default() {
        tracing::info!(
            adopted = recovered.adopted.len(),
            undone = recovered.undone.len(),
            strays = recovered.strays.len(),
            "took over what an earlier server left"
        );
    }
    forges.recover().await.context("jobs of an earlier server could not be recovered")?;
    Ok(())
}

async fn controller(
    config: &Config,
    host: &Host,
    store: &Store,
    forges: &Forges,
    machines: Looked,
) -> anyhow::Result<Controller> {
    let (saved, kept) =
        overrides::load(store).await.context("operators' changes to pools could not be read")?;
    let drained = store.drained().await.context("whether the host is drained could not be read")?;
    if let Some(drained) = &drained {
        tracing::warn!(since = %drained.since, why = drained.why, "the host is drained: `fireactions undrain` ends it");
    }
    let budget = config.budget(host);
    let budget = Budget {
        vcpus: budget.vcpus,
        memory_mib: budget.memory_mib,
        machine_overhead_mib: budget.machine_overhead_mib,
    };
    let controller = Controller::new(forges.sources(), Arc::new(machines), config.pools(), budget);
    Ok(controller.with_overrides(&saved, kept).with_drained(drained))
}

/// Waits for tasks that were told to end; one that does not is ended where it is.
async fn join(tasks: impl Iterator<Item = JoinHandle<()>>) {
    for mut task in tasks {
        if tokio::time::timeout(TASK_END, &mut task).await.is_err() {
            tracing::warn!("a task of the server did not end in time");
            end([task].into_iter()).await;
        }
    }
}

/// Ends tasks where they are.
async fn end(tasks: impl Iterator<Item = JoinHandle<()>>) {
    for task in tasks {
        task.abort();
        let _ = task.await;
    }
}
