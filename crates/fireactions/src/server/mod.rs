//! `fireactions server`: from its start to its end, over as many handovers as there are in between.

mod actions_cache;
mod activation;
mod build;
pub(crate) mod cluster;
mod driver;
mod engine;
mod files;
pub(crate) mod forges;
mod handover;
mod housekeeping;
mod listen;
mod live;
pub(crate) mod logging;
mod looked;
mod notify;
mod oidc;
mod origins;
mod overrides;
mod prepare;
mod signals;
mod sockets;
mod sticky;
mod successor;
mod telemetry;
mod watchdog;
mod webhook;
mod words;

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use fireactions_config::Host;

use crate::cli::server::Args;
pub(crate) use activation::Activation;
use engine::Told;
use handover::{Given, Predecessor, Taken, fail_point};
use live::{Live, Setup};
use notify::{Manager, Notifier};
use prepare::Preparation;
use signals::{Asked, Signals};
use sockets::{Name, Role, Sockets};
use successor::{Launcher, Successor, is_successor};
use watchdog::Watchdog;

/// Runs the server until it is stopped or another one has taken over.
pub(crate) async fn run(args: Args, activation: Activation) -> anyhow::Result<()> {
    let began = Instant::now();
    let host = Host::detect();
    let loaded = fireactions_config::load_for(&args.config, &host)?;
    let told = Told { config: loaded.config.clone(), file: args.config.clone(), keys: loaded.effective };
    let config = Arc::new(loaded.config);
    logging::start(config.effective_log_level(), config.log_format)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    files::raise_limit();
    let launcher = Launcher::new().context("the server's own executable could not be found")?;
    let signals = Signals::new()?;
    let preparation = Preparation::begin(Arc::clone(&config));
    let mut setup = Setup { host, config: Arc::clone(&config), told: Arc::new(told), preparation };
    let start = Start::new(&mut setup, args.replace, activation).await;
    let ended = match start {
        Ok(start) => serve(&mut setup, start, signals, &launcher, began).await,
        Err(error) => Err(error),
    };
    setup.preparation.end().await;
    ended
}

const NOT_ALONE: &str = "the server that started this one to take over (SIGHUP) has ended meanwhile; whoever ended it has to \
                         start the next";

/// What a server begins with.
struct Start {
    sockets: Sockets,
    /// Sockets of the server before that this one does not want.
    obsolete: Vec<Name>,
    predecessor: Option<Predecessor>,
    /// Another server was there just now, and may not have released everything yet.
    taking_over: bool,
    notifier: Notifier,
}

impl Start {
    /// Takes over from a running server if that is wanted and there is one.
    async fn new(setup: &mut Setup, replace: bool, activation: Activation) -> anyhow::Result<Self> {
        let config = &setup.config;
        let passed = activation.sockets(config);
        let notifier = Notifier::new(Manager::from_environment());
        let alone =
            Self { sockets: passed, obsolete: Vec::new(), predecessor: None, taking_over: false, notifier };
        if !replace {
            return Ok(alone);
        }
        // All that can fail without the other server's help fails here, and that one has not noticed.
        setup.preparation.get().await?;
        fail_point!("handover::prepared");
        let Some(offer) = handover::ask(&config.state_dir).await? else {
            if is_successor() {
                bail!(NOT_ALONE);
            }
            tracing::info!("no server to take over from; starting as usual");
            return Ok(alone);
        };
        let bound = listen::bind_missing(config, offer.sockets()).await?;
        let taken = match offer.take().await {
            Ok(Some(taken)) => taken,
            Ok(None) => {
                bound.remove();
                if is_successor() {
                    bail!(NOT_ALONE);
                }
                tracing::warn!("the running server ended instead of handing over; starting without it");
                return Ok(Self { taking_over: true, ..alone });
            }
            Err(error) => {
                bound.remove();
                return Err(error);
            }
        };
        let Taken { mut sockets, manager, predecessor } = taken;
        let mut wanted = listen::wanted(config);
        wanted.extend(sockets.names().into_iter().filter(|name| name.role == Role::Handover));
        wanted.extend(build::claims(config));
        let obsolete = sockets.keep(&wanted);
        sockets.extend(bound);
        let notifier = Notifier::new(manager.or_else(|| alone.notifier.manager()));
        Ok(Self { sockets, obsolete, predecessor: Some(predecessor), taking_over: true, notifier })
    }
}

/// Serves until the end, and again when a handover failed.
async fn serve(
    setup: &mut Setup,
    start: Start,
    mut signals: Signals,
    launcher: &Launcher,
    began: Instant,
) -> anyhow::Result<()> {
    let Start { mut sockets, mut obsolete, mut predecessor, mut taking_over, notifier } = start;
    let config = Arc::clone(&setup.config);
    let watchdog = Watchdog::start(&notifier);
    let mut began = began;
    let mut told_to_stop = None;
    loop {
        let mut live = Live::start(setup, sockets, taking_over).await?;
        let status = format!("{} pools", config.pools.len());
        tracing::info!(
            state = %config.state_dir.display(),
            pools = config.pools.len(),
            after_ms = began.elapsed().as_millis(),
            "ready"
        );
        if let Some(predecessor) = predecessor.take() {
            predecessor.ready().await;
            obsolete.drain(..).for_each(|name| name.remove_file());
        }
        notifier.ready(&status);
        watchdog.watch(Some(live.vitals(&config)));
        let next = match told_to_stop.take() {
            Some(signal) => Next::Stop(signal),
            None => attend(&mut live, &mut signals, launcher, &notifier).await,
        };
        watchdog.watch(None);
        let request = match next {
            Next::HandOver(request) => request,
            Next::Stop(signal) => {
                let mode = config.shutdown.mode;
                tracing::info!("{signal}: stopping, running jobs: {mode:?}");
                notifier.stopping(&format!("stopping, running jobs: {mode:?}"));
                return live.stop(&config, &mut signals, &notifier).await;
            }
        };
        notifier.reloading();
        fail_point!("handover::asked");
        let kept = live.detach().await;
        fail_point!("handover::let-go");
        let given = request
            .give(&kept, notifier.manager(), async { told_to_stop = Some(signals.stop().await) })
            .await;
        match given {
            Given::Served { pid, farewell } => {
                fail_point!("handover::served");
                notifier.main_is(pid).await;
                drop(farewell);
                tracing::info!(pid, "a new server has taken over");
                return Ok(());
            }
            Given::Back(why) => {
                tracing::error!("the new server has not taken over ({why}); the old one continues");
                (sockets, taking_over, began) = (kept, true, Instant::now());
            }
        }
    }
}

/// Why attending ended.
enum Next {
    Stop(&'static str),
    HandOver(handover::Request),
}

/// Waits for signals and successors while everything runs.
async fn attend(live: &mut Live, signals: &mut Signals, launcher: &Launcher, notifier: &Notifier) -> Next {
    let mut successor: Option<Successor> = None;
    loop {
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::Stop(signal) => {
                    if let Some(mut successor) = successor.take() {
                        tracing::info!("{signal}: the new server that was starting is ended first");
                        successor.kill().await;
                    }
                    return Next::Stop(signal);
                }
                Asked::Replace if successor.is_some() => tracing::info!("SIGHUP: a new server is starting already"),
                Asked::Replace => successor = launch(launcher, notifier),
            },
            request = live.request() => return Next::HandOver(request),
            status = ended(&mut successor) => {
                successor = None;
                tracing::error!("the new server ended before it took over ({status}); this one continues");
                notifier.ready("a new server could not be started; this one continues");
            }
        }
    }
}

fn launch(launcher: &Launcher, notifier: &Notifier) -> Option<Successor> {
    let program = launcher.program().display().to_string();
    match launcher.start() {
        Ok(successor) => {
            tracing::info!(program, pid = successor.id(), "SIGHUP: starting a new server");
            notifier.reloading();
            Some(successor)
        }
        Err(error) => {
            tracing::error!(program, %error, "SIGHUP: no new server could be started; this one continues");
            None
        }
    }
}

/// Pends for ever without one.
async fn ended(successor: &mut Option<Successor>) -> String {
    match successor {
        Some(successor) => successor.ended().await,
        None => std::future::pending().await,
    }
}
