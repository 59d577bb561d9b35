//! `fireactions logs`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use fireactions_api::{Client, ClientError, Code};
use fireactions_model::MachineId;
use futures::TryStreamExt;
use tokio::io::AsyncWriteExt;

use super::{Ended, machine, show};

/// A server that restarts is waited for this long.
const PATIENCE: Duration = Duration::from_secs(90);
const AGAIN: Duration = Duration::from_millis(500);

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Machine (or the beginning of its id, or its job)
    #[arg(value_name = "VM")]
    machine: String,
    /// Follow the console until the machine is removed
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines
    #[arg(long, value_name = "N")]
    tail: Option<u64>,
}

pub(crate) async fn run(client: &Client, args: &Args) -> Ended {
    let id = machine::find(client, &args.machine).await?;
    let mut out = tokio::io::stdout();
    let mut tail = args.tail;
    loop {
        let mut console = client.console(&id, tail, args.follow).await?;
        loop {
            let bytes = match console.try_next().await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => break,
                // The server closed; it may come back.
                Err(error) if args.follow && error.is_transient() => break,
                Err(error) => return Err(error.into()),
            };
            out.write_all(&bytes).await?;
            out.flush().await?;
        }
        if !args.follow || is_gone(client, &id).await? {
            return Ok(ExitCode::SUCCESS);
        }
        show::note(
            "the server was restarted or replaced; the console continues, possibly without some \
             lines",
        );
        tail = Some(0);
    }
}

/// Whether the machine is gone, rather than the server that showed its console. A server that restarts is waited for.
async fn is_gone(client: &Client, id: &MachineId) -> anyhow::Result<bool> {
    let since = Instant::now();
    loop {
        match client.machine(id).await {
            Ok(_) => return Ok(false),
            Err(ClientError::Refused(fault)) if fault.code == Code::NotFound => return Ok(true),
            Err(error) if error.is_transient() && since.elapsed() < PATIENCE => {
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
