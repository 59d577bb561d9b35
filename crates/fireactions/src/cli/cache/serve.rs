//! `fireactions cache run`: the programs of the cache, for as long as this one runs.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use fireactions_api::listen::{Connections, serve_until};
use fireactions_config::Config;
use fireactions_fleet::doctor::cache_program;
use fireactions_model::ExponentialBackoff;
use fireactions_registry_cache::{
    Cache, Listen, Program, Status, docker_registry, docker_registry_alone, zot, zot_logins,
};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::front::{Counts, Front};
use super::keep::{PAUSES, Part, When, keep, say_waiting};
use super::places::{make_directory, runtime_directory};
use super::room::{Limits, Room};
use super::upstream::Upstream;
use super::warm::{self, Known};
use super::{enabled, proxy, told};
use crate::cli::Ended;
use crate::cli::edge::advise;
use crate::{credentials, registry_cache, server};

/// Connections of guests to one registry's cache. An image has dozens of layers, and a client takes a handful at once.
const CONNECTIONS: Connections = Connections { all: 1024, each: 64 };

pub(super) async fn run(config: &Config) -> Ended {
    let mut cache = enabled(config)?;
    server::logging::start(config.effective_log_level(), config.log_format)?;
    let credentials = credentials::directory();
    registry_cache::log_in(&mut cache, config, credentials.as_deref())?;
    let binary = cache_program(&config.registry_cache).1.ok_or_else(|| {
        advise(
            format!("{} is not there to cache registries", cache.program.as_str()),
            "`fireactions doctor` says what to install",
        )
    })?;
    make_directory(&cache.storage, 0o750)?;
    // Beside the images there are only files with logins, which nobody else may read and which end with this process.
    let files = tempfile::Builder::new()
        .prefix("fireactions-cache-")
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir_in(runtime_directory())?;
    tracing::info!(program = cache.program.as_str(), binary = %binary.display(), "caching registries");

    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    match cache.program {
        Program::Zot => {
            tasks.spawn(keep(all_in_one(&cache, &binary, files.path())?, stopped.clone()));
        }
        Program::DockerRegistry => one_each(&cache, config, &binary, files.path(), &mut tasks, &stopped)?,
    }
    proxy::start(&cache, config, files.path(), &mut tasks, &stopped).await?;
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    let _ = stop.send(true);
    // Each ends its program, which has its own deadline.
    while tasks.join_next().await.is_some() {}
    Ok(ExitCode::SUCCESS)
}

fn room(config: &Config) -> Room {
    let own = &config.registry_cache;
    let bytes = |mib: u64| mib.saturating_mul(1 << 20);
    let limits = Limits { most: own.max_size_mib.map(bytes), keep_free: bytes(own.keep_free_mib) };
    Room::new(own.storage_dir.to_path_buf(), limits)
}

fn write(path: PathBuf, text: &str) -> anyhow::Result<PathBuf> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        .with_context(|| format!("{} could not be written", path.display()))?;
    Ok(path)
}

/// Zot, with its configuration in a file below `files`.
fn all_in_one(cache: &Cache, binary: &Path, files: &Path) -> anyhow::Result<Part> {
    let logins = zot_logins(cache).map(|text| write(files.join("logins.json"), &text)).transpose()?;
    let file = write(files.join("zot.json"), &zot(cache, logins.as_deref()))?;
    Ok(Part {
        name: "all registries".to_owned(),
        binary: binary.to_owned(),
        arguments: vec!["serve".into(), file],
        listen: Some((cache.gateway, cache.port).into()),
        when: When::Always,
    })
}

/// A docker-registry for each registry, what guests reach of it, and what is looked at.
fn one_each(
    cache: &Cache,
    config: &Config,
    binary: &Path,
    files: &Path,
    tasks: &mut JoinSet<()>,
    stopped: &watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let room = Arc::new(room(config));
    let mut fronts = Vec::new();
    for (number, one) in cache.upstreams.iter().enumerate() {
        let upstream = Arc::new(Upstream::new(&one.name, &one.url)?);
        // A socket's path is short, and a registry's name may be long.
        let (through, alone) =
            (files.join(format!("{number}.sock")), files.join(format!("{number}-alone.sock")));
        let part = |file: PathBuf, when| Part {
            name: one.name.clone(),
            binary: binary.to_owned(),
            arguments: vec!["serve".into(), file],
            listen: None,
            when,
        };
        let text = docker_registry(cache, one, Listen::Socket(&through));
        let file = write(files.join(format!("{}.yml", one.name)), &text)?;
        // It does not start without its registry.
        tasks.spawn(keep(part(file, When::Up(upstream.reach())), stopped.clone()));
        let text = docker_registry_alone(cache, one, Listen::Socket(&alone));
        let file = write(files.join(format!("{}.alone.yml", one.name)), &text)?;
        tasks.spawn(keep(part(file, When::Down(upstream.reach())), stopped.clone()));

        let (looked, room, stop) = (Arc::clone(&upstream), Arc::clone(&room), stopped.clone());
        tasks.spawn(async move { looked.watch(stop).await });
        let directory = cache.storage.join(&one.name);
        let front = Arc::new(Front { directory, through, alone, upstream, room, counts: Counts::default() });
        fronts.push((one.name.clone(), Arc::clone(&front)));
        let listen = (cache.gateway, one.port).into();
        tasks.spawn(open(one.name.clone(), listen, front.router(), stopped.clone()));
    }
    let known = Arc::new(Known::default());
    if !config.registry_cache.warm.is_empty() {
        let images = config.registry_cache.warm.clone();
        tasks.spawn(warm::keep(cache.clone(), images, Arc::clone(&known), stopped.clone()));
    }
    let now = Arc::clone(&room);
    let now = move || Status {
        evicted_bytes: now.evicted(),
        full: now.is_full(),
        warm: known.get(),
        registries: fronts.iter().map(|(name, front)| (name.clone(), front.status())).collect(),
    };
    tasks.spawn(told::keep(cache.status_file(), now, stopped.clone()));
    let stop = stopped.clone();
    tasks.spawn(async move { room.keep(stop).await });
    Ok(())
}

/// Serves guests at the bridge's address, which may not be there yet, until all is to stop.
async fn open(name: String, listen: SocketAddr, router: Router, mut stop: watch::Receiver<bool>) {
    let mut backoff = ExponentialBackoff::new(PAUSES.0, PAUSES.1);
    let mut waiting = false;
    let listener = loop {
        let why = match TcpListener::bind(listen).await {
            Ok(listener) => break listener,
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
                if !std::mem::replace(&mut waiting, true) {
                    say_waiting(&name, Some(listen));
                }
                None
            }
            Err(error) => Some(error),
        };
        let pause = backoff.failed(rand::random());
        if let Some(why) = why {
            tracing::warn!(registry = name, "cannot listen at {listen}: {why}; tried again in {pause:.1?}");
        }
        tokio::select! {
            () = sleep(pause) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    };
    tracing::info!(registry = name, address = %listen, "guests are served");
    let closing = CancellationToken::new();
    let ended = async {
        let _ = stop.wait_for(|stop| *stop).await;
        closing.cancel();
    };
    let (served, ()) =
        tokio::join!(serve_until(listener, router, closing.clone(), closing.clone(), CONNECTIONS), ended);
    if let Err(error) = served {
        tracing::warn!(registry = name, "guests are not served any more: {error}");
    }
}
