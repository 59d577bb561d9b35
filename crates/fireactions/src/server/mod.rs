//! `fireactions server`: the parts put together, started in order, and stopped in reverse.

mod build;
mod engine;
mod housekeeping;
mod listen;
mod logging;
mod overrides;

use std::sync::Arc;

use anyhow::Context;
use fireactions_api::{Api, Limits, Version};
use fireactions_config::{Config, Host};
use fireactions_forge::local::{LocalConfig, LocalForge};
use fireactions_machine::{Machinery, Parts};
use fireactions_model::{Event, Forge, ShutdownMode};
use fireactions_pool::{Budget, Controller};
use fireactions_store::Store;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::cli::server::Args;
use engine::ServerEngine;

/// Events that a slow listener may be behind; one that is further behind misses some and is right again after the
/// next event of the same thing.
const EVENTS: usize = 4096;

/// Runs the server until SIGTERM or SIGINT.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let host = Host::detect();
    let loaded = fireactions_config::load_for(&args.config, &host)?;
    let config = loaded.config;
    logging::start(config.effective_log_level(), config.log_format)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be caught")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be caught")?;

    // The lock first: nothing may be touched while another server runs on the same state.
    let store = Store::open(&config.state_dir)?;
    // Held until the process ends.
    let _namespace = build::claim_namespace()?;
    let places = build::Places::make(&config.state_dir)?;
    let (events, _) = broadcast::channel::<Event>(EVENTS);
    let images = build::images(&config, &places)?;
    let network = build::network(&config).await?;
    let settings = build::settings(&config, &places, &network)?;
    let (vmm, accel) = build::vmm(&config, &settings).await?;
    let forge = LocalForge::new(store.clone(), events.clone(), forge_settings(&config)).await?;

    let machines = Machinery::new(Parts {
        store: store.clone(),
        images: images.clone(),
        network: network.clone(),
        vmm: Arc::clone(&vmm),
        forge: Arc::new(forge.clone()),
        events: events.clone(),
        settings: Arc::new(settings),
    });
    let recovered =
        machines.recover().await.map_err(anyhow::Error::msg).context(
            "what an earlier server left could not be undone, and starting on top of it would leak",
        )?;
    if recovered != fireactions_machine::Recovered::default() {
        tracing::info!(
            adopted = recovered.adopted.len(),
            undone = recovered.undone.len(),
            strays = recovered.strays.len(),
            "took over what an earlier server left"
        );
    }
    forge.recover().await.context("jobs of an earlier server could not be sorted out")?;

    let stopping = CancellationToken::new();
    let budget = config.budget(&host);
    let (saved, kept) =
        overrides::load(&store).await.context("what operators changed on pools could not be read")?;
    let controller = Controller::new(
        Arc::new(forge.clone()) as Arc<dyn Forge>,
        Arc::new(machines.clone()),
        config.pools(),
        Budget {
            vcpus: budget.vcpus,
            memory_mib: budget.memory_mib,
            machine_overhead_mib: budget.machine_overhead_mib,
        },
    )
    .with_overrides(&saved, kept);
    let pools = controller.handle();
    let controlling = tokio::spawn(controller.run(stopping.clone()));
    let keeping = tokio::spawn(housekeeping::run(
        forge.clone(),
        images.clone(),
        store.clone(),
        config.images.unused_for.as_ref().map(|time| time.0),
        stopping.clone(),
    ));

    // Rules are kept until the last machine is gone, so not only until `stopping`.
    let network_done = CancellationToken::new();
    let rules = tokio::spawn(housekeeping::keep_rules(network.clone(), network_done.clone()));

    let engine = ServerEngine {
        forge,
        store: store.clone(),
        machines: machines.clone(),
        pools,
        images,
        events,
        uploads: places.uploads.clone(),
        version: Version {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            vmm: vmm.name().to_owned(),
            accel: accel.why,
            pid: std::process::id(),
        },
        stopping: stopping.clone(),
    };
    let api = Api::new(Arc::new(engine), Limits::default());
    let listeners = listen::start(&config, &api).await?;
    tracing::info!(state = %places.state.display(), pools = config.pools.len(), "ready");

    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
        _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
    }
    stopping.cancel();
    let _ = controlling.await;
    let _ = keeping.await;
    let left = tokio::select! {
        left = machines.shutdown(ShutdownMode::Wait, config.shutdown.deadline.0) => left,
        // A second signal: the operator does not want to wait.
        _ = terminate.recv() => machines.shutdown(ShutdownMode::Kill, std::time::Duration::ZERO).await,
        _ = interrupt.recv() => machines.shutdown(ShutdownMode::Kill, std::time::Duration::ZERO).await,
    };
    api.close();
    listeners.ended().await;
    network_done.cancel();
    let _ = rules.await;
    if left == 0 {
        // With machines left, their taps still hang on the bridge.
        network.remove().await.context("the machines' network could not be removed")?;
    } else {
        tracing::error!(machines = left, "stopped with machines not undone; the next start undoes them");
    }
    store.close().await;
    tracing::info!("stopped");
    Ok(())
}

fn forge_settings(config: &Config) -> LocalConfig {
    LocalConfig {
        retry: config.local.retry(),
        keep: config.local.keep.0,
        keep_jobs: config.local.keep_jobs,
        ..LocalConfig::default()
    }
}
