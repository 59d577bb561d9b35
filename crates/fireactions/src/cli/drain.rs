//! `fireactions drain` and `undrain`: the host is emptied for maintenance, and taken into use again.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use fireactions_api::{Client, DrainRequest};
use fireactions_model::{HostView, MachineState};

use super::edge::advise;
use super::{Connection, Ended, ps, show};

/// Between two looks while waiting.
const PAUSE: Duration = Duration::from_secs(1);
/// A server that restarts is waited for this long.
const PATIENCE: Duration = Duration::from_secs(90);

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    host: Host,
    /// Reason; shown wherever jobs wait
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Return when no machine is left except held ones; exit code 1 if there still are some at the deadline, e.g. 30m
    #[arg(long, value_name = "DEADLINE", num_args = 0..=1, require_equals = true,
        value_parser = humantime::parse_duration)]
    #[allow(clippy::option_option, reason = "clap's form of an option with an optional value")]
    wait: Option<Option<Duration>>,
    #[command(flatten)]
    format: show::Format,
}

/// Arguments of `undrain`.
#[derive(Debug, clap::Args)]
pub(crate) struct UndrainArgs {
    #[command(flatten)]
    host: Host,
    #[command(flatten)]
    format: show::Format,
}

/// Which host is meant.
#[derive(Debug, clap::Args)]
struct Host {
    /// Another host of the cluster, instead of this one
    #[arg(value_name = "HOST")]
    name: Option<String>,
}

impl Host {
    fn on(&self, connection: &Connection) -> Connection {
        self.name.as_deref().map_or_else(|| connection.clone(), |name| connection.of(Some(name)))
    }
}

impl Args {
    /// How the host is reached that is meant.
    pub(super) fn on(&self, connection: &Connection) -> Connection {
        self.host.on(connection)
    }
}

impl UndrainArgs {
    /// How the host is reached that is meant.
    pub(super) fn on(&self, connection: &Connection) -> Connection {
        self.host.on(connection)
    }
}

pub(crate) async fn run(client: &Client, args: Args) -> Ended {
    let host = client.drain_host(&DrainRequest { drained: true, reason: args.reason }).await?;
    let Some(deadline) = args.wait else {
        show::write(args.format, &host, told)?;
        return Ok(ExitCode::SUCCESS);
    };
    let until = deadline.map(|deadline| Instant::now() + deadline);
    let host = wait(client, host, until).await?;
    show::write(args.format, &host, told)?;
    Ok(if is_empty(&host) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(crate) async fn undrain(client: &Client, args: &UndrainArgs) -> Ended {
    let host = client.drain_host(&DrainRequest::default()).await?;
    show::write(args.format, &host, |_| "the host takes work again".to_owned())?;
    Ok(ExitCode::SUCCESS)
}

/// Nothing runs that a maintenance would disturb. Idle machines count as long as they are there: one may just be
/// getting a job.
fn is_empty(host: &HostView) -> bool {
    host.machines.keys().all(|state| *state == MachineState::Held)
}

/// Looks again and again until the host is empty or the time is over.
async fn wait(client: &Client, mut host: HostView, until: Option<Instant>) -> anyhow::Result<HostView> {
    let mut heard = Instant::now();
    loop {
        if host.drained.is_none() {
            return Err(advise(
                "somebody ended the drain meanwhile (`fireactions undrain`)",
                "drain the host again if you still want to empty it",
            ));
        }
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        if is_empty(&host) || left.is_some_and(|left| left.is_zero()) {
            return Ok(host);
        }
        tokio::time::sleep(left.unwrap_or(PAUSE).min(PAUSE)).await;
        match client.host().await {
            Ok(now) => {
                host = now;
                heard = Instant::now();
            }
            Err(error) if error.is_transient() && heard.elapsed() < PATIENCE => {}
            Err(error) => return Err(error.into()),
        }
    }
}

pub(super) fn told(host: &HostView) -> String {
    let line = ps::drained(host).unwrap_or_else(|| "the host is not drained".to_owned());
    match host.machines.get(&MachineState::Held) {
        None | Some(0) => line,
        Some(1) => format!("{line}, 1 held"),
        Some(held) => format!("{line}, {held} held"),
    }
}
