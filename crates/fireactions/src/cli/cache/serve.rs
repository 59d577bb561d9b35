//! `fireactions cache run`: the programs of the cache, for as long as this one runs.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use fireactions_config::Config;
use fireactions_fleet::doctor::cache_program;
use fireactions_model::ExponentialBackoff;
use fireactions_registry_cache::{Cache, Program, Status, docker_registry, zot, zot_logins};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::room::{Limits, Room};
use super::{enabled, told};
use crate::cli::Ended;
use crate::cli::edge::advise;
use crate::{credentials, registry_cache, server};

/// Between the end of a program and its next start.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// One that ran this long had started well.
const WELL: Duration = Duration::from_secs(60);
/// For a program to end by itself once it was asked to.
const GRACE: Duration = Duration::from_secs(10);

/// A program of the cache.
struct Part {
    /// What it caches.
    name: String,
    binary: PathBuf,
    arguments: Vec<PathBuf>,
    /// Where it listens.
    listen: SocketAddr,
}

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
    let parts = parts(&cache, &binary, files.path())?;
    tracing::info!(program = cache.program.as_str(), binary = %binary.display(), "caching registries");

    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for part in parts {
        tasks.spawn(keep(part, stopped.clone()));
    }
    if cache.program == Program::DockerRegistry {
        let room = Arc::new(room(config));
        let now = Arc::clone(&room);
        let now = move || Status { evicted_bytes: now.evicted(), full: now.is_full() };
        tasks.spawn(told::keep(cache.status_file(), now, stopped.clone()));
        tasks.spawn(async move { room.keep(stopped).await });
    }
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

/// The service manager's own for this unit, which it removes; else where temporary files are.
fn runtime_directory() -> PathBuf {
    std::env::var_os("RUNTIME_DIRECTORY").map_or_else(std::env::temp_dir, PathBuf::from)
}

fn make_directory(path: &Path, mode: u32) -> anyhow::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .with_context(|| format!("the directory {} could not be made", path.display()))
}

/// What is started, each with its configuration in a file below `files`.
fn parts(cache: &Cache, binary: &Path, files: &Path) -> anyhow::Result<Vec<Part>> {
    let write = |name: &str, text: &str| {
        let path = files.join(name);
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .with_context(|| format!("{} could not be written", path.display()))?;
        anyhow::Ok(path)
    };
    let part = |name: &str, port: u16, file: PathBuf| Part {
        name: name.to_owned(),
        binary: binary.to_owned(),
        arguments: vec!["serve".into(), file],
        listen: (cache.gateway, port).into(),
    };
    match cache.program {
        Program::Zot => {
            let logins = zot_logins(cache).map(|text| write("logins.json", &text)).transpose()?;
            let file = write("zot.json", &zot(cache, logins.as_deref()))?;
            Ok(vec![part("all registries", cache.port, file)])
        }
        Program::DockerRegistry => {
            let one = |upstream: &fireactions_registry_cache::Upstream| {
                let file = write(&format!("{}.yml", upstream.name), &docker_registry(cache, upstream))?;
                Ok(part(&upstream.name, upstream.port, file))
            };
            cache.upstreams.iter().map(one).collect()
        }
    }
}

/// Runs a program until all is to stop.
async fn keep(part: Part, mut stop: watch::Receiver<bool>) {
    let mut backoff = ExponentialBackoff::new(PAUSES.0, PAUSES.1);
    let mut waiting = false;
    while !*stop.borrow() {
        let began = Instant::now();
        let why = match TcpListener::bind(part.listen) {
            // The server makes the bridge, and it may start later.
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
                if !std::mem::replace(&mut waiting, true) {
                    tracing::info!(
                        registry = part.name,
                        "waiting for the bridge, which the server makes: {} is no address of this host yet",
                        part.listen.ip()
                    );
                }
                None
            }
            Err(error) => Some(format!("cannot listen at {}: {error}", part.listen)),
            Ok(free) => {
                drop(free);
                waiting = false;
                match start(&part) {
                    Ok(child) => {
                        attend(&part, child, &mut stop).await.map(|status| format!("it ended: {status}"))
                    }
                    Err(error) => Some(format!("it could not be started: {error}")),
                }
            }
        };
        if *stop.borrow() {
            return;
        }
        if began.elapsed() >= WELL {
            backoff.succeeded();
        }
        let pause = backoff.failed(rand::random());
        if let Some(why) = why {
            tracing::warn!(registry = part.name, "the cache does not run: {why}; tried again in {pause:.1?}");
        }
        tokio::select! {
            () = sleep(pause) => {}
            _ = stop.changed() => {}
        }
    }
}

fn start(part: &Part) -> std::io::Result<Child> {
    let child = Command::new(std::env::current_exe()?)
        .args(["cache", "child"])
        .arg(std::process::id().to_string())
        .arg(&part.binary)
        .args(&part.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    tracing::info!(registry = part.name, address = %part.listen, pid = child.id(), "started");
    Ok(child)
}

/// Waits for the end of a program, or ends it.
async fn attend(part: &Part, mut child: Child, stop: &mut watch::Receiver<bool>) -> Option<ExitStatus> {
    tokio::select! {
        status = child.wait() => return status.ok(),
        _ = stop.wait_for(|stop| *stop) => {}
    }
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended just now.
        let _ = kill_process(pid, Signal::TERM);
    }
    if timeout(GRACE, child.wait()).await.is_err() {
        tracing::warn!(registry = part.name, "it did not end within {GRACE:?} and is killed");
        let _ = child.kill().await;
    }
    None
}
