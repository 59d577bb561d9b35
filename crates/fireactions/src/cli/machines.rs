//! `fireactions machines`.

use std::process::ExitCode;

use clap::Subcommand;
use fireactions_api::Client;

use super::{Ended, machine, show};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Remove held or idle machines at once; refuses a machine that has a job
    #[command(alias = "rm")]
    Remove {
        /// Machines (or the beginnings of their ids, or their jobs)
        #[arg(value_name = "VM", required = true)]
        machines: Vec<String>,
        #[command(flatten)]
        format: show::Format,
    },
}

pub(crate) async fn run(client: &Client, args: Args) -> Ended {
    let Action::Remove { machines, format } = args.action;
    let mut removed = Vec::new();
    for text in machines {
        let id = machine::find(client, &text).await?;
        let machine = client.remove_machine(&id).await?;
        if !format.json {
            show::line(&format!("{id} goes\n"))?;
        }
        removed.push(machine);
    }
    if format.json {
        show::write(format, removed.as_slice(), |_| String::new())?;
    }
    Ok(ExitCode::SUCCESS)
}
