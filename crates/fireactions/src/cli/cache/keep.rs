//! Programs that run for as long as this one does, or while there is need of them.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use fireactions_model::ExponentialBackoff;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::upstream::Reach;

/// Between the end of a program and its next start.
pub(super) const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// One that ran this long had started well.
const WELL: Duration = Duration::from_secs(60);
/// For a program to end by itself once it was asked to.
const GRACE: Duration = Duration::from_secs(10);

/// A program of the cache.
pub(super) struct Part {
    /// What it caches.
    pub(super) name: String,
    pub(super) binary: PathBuf,
    pub(super) arguments: Vec<PathBuf>,
    /// Where it listens itself at the bridge's address, which may not be there yet.
    pub(super) listen: Option<SocketAddr>,
    pub(super) when: When,
}

/// When a program is needed.
#[derive(Clone)]
pub(super) enum When {
    Always,
    /// It starts only while its registry answers, and then stays.
    Up(watch::Receiver<Reach>),
    /// While its registry does not answer.
    Down(watch::Receiver<Reach>),
    /// Always, and anew whenever what it is told has changed.
    Unchanged(watch::Receiver<u64>),
}

impl When {
    /// Until it is to start.
    async fn begins(&mut self) {
        let (reach, wanted) = match self {
            Self::Always | Self::Unchanged(_) => return,
            Self::Up(reach) => (reach, Reach::Up),
            Self::Down(reach) => (reach, Reach::Down),
        };
        if reach.wait_for(|now| *now == wanted).await.is_err() {
            // Nobody looks any more: all is about to stop.
            std::future::pending::<()>().await;
        }
    }

    /// Until it is to end.
    async fn ends(&mut self) {
        let is_over = match self {
            Self::Down(reach) => reach.wait_for(|now| *now == Reach::Up).await.is_ok(),
            Self::Unchanged(changes) => changes.changed().await.is_ok(),
            Self::Always | Self::Up(_) => false,
        };
        if is_over {
            return;
        }
        std::future::pending::<()>().await;
    }
}

/// Runs a program until all is to stop.
pub(super) async fn keep(mut part: Part, mut stop: watch::Receiver<bool>) {
    let mut backoff = ExponentialBackoff::new(PAUSES.0, PAUSES.1);
    let (mut waiting, mut when) = (false, part.when.clone());
    loop {
        tokio::select! {
            () = when.begins() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let began = Instant::now();
        let why = match part.listen.map(TcpListener::bind) {
            // The server makes the bridge, and it may start later.
            Some(Err(error)) if error.kind() == ErrorKind::AddrNotAvailable => {
                if !std::mem::replace(&mut waiting, true) {
                    say_waiting(&part.name, part.listen);
                }
                None
            }
            Some(Err(error)) => Some(format!("cannot listen where it is to: {error}")),
            free => {
                drop(free);
                waiting = false;
                match start(&part) {
                    Ok(child) => match attend(&mut part, child, &mut stop).await {
                        Some(status) => Some(format!("it ended: {status}")),
                        // It was not needed any more.
                        None => continue,
                    },
                    Err(error) => Some(format!("it could not be started: {error}")),
                }
            }
        };
        if began.elapsed() >= WELL {
            backoff.succeeded();
        }
        let pause = backoff.failed(rand::random());
        if let Some(why) = why {
            tracing::warn!(registry = part.name, "the cache does not run: {why}; tried again in {pause:.1?}");
        }
        tokio::select! {
            () = sleep(pause) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Says, once, what a program waits for.
pub(super) fn say_waiting(name: &str, listen: Option<SocketAddr>) {
    let address = listen.map(|listen| listen.ip().to_string()).unwrap_or_default();
    tracing::info!(
        registry = name,
        "waiting for the bridge, which the server makes: {address} is no address of this host yet"
    );
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
    tracing::info!(registry = part.name, pid = child.id(), "started");
    Ok(child)
}

/// Waits for the end of a program, or ends it when it is not needed any more.
async fn attend(part: &mut Part, mut child: Child, stop: &mut watch::Receiver<bool>) -> Option<ExitStatus> {
    tokio::select! {
        status = child.wait() => return status.ok(),
        _ = stop.wait_for(|stop| *stop) => {}
        () = part.when.ends() => {}
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
