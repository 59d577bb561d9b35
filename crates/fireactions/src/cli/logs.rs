//! `fireactions logs`.

use std::process::ExitCode;

use fireactions_api::Client;
use futures::TryStreamExt;
use tokio::io::AsyncWriteExt;

use super::{Ended, machine};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Machine (or the beginning of its name, or its job)
    #[arg(value_name = "VM")]
    machine: String,
    /// Go on until the machine is gone
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines
    #[arg(long, value_name = "N")]
    tail: Option<u64>,
}

pub(crate) async fn run(client: &Client, args: &Args) -> Ended {
    let id = machine::find(client, &args.machine).await?;
    let mut console = client.console(&id, args.tail, args.follow).await?;
    let mut out = tokio::io::stdout();
    while let Some(bytes) = console.try_next().await? {
        out.write_all(&bytes).await?;
        out.flush().await?;
    }
    Ok(ExitCode::SUCCESS)
}
