//! `fireactions machines`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use fireactions_api::{Client, HoldRequest};
use fireactions_model::MachineView;

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
    /// Keep a machine once its job has ended, however it ends, to look into it
    Hold {
        /// Machine (or the beginning of its id, or its job)
        #[arg(value_name = "VM")]
        machine: String,
        /// How long it is kept from the end of its job on, at most 7d
        #[arg(long = "for", value_name = "DURATION", default_value = "1h", value_parser = humantime::parse_duration)]
        time: Duration,
        #[command(flatten)]
        format: show::Format,
    },
    /// Let a machine go with its job after all; one that is held already is let go by `remove`
    Unhold {
        /// Machine (or the beginning of its id, or its job)
        #[arg(value_name = "VM")]
        machine: String,
        #[command(flatten)]
        format: show::Format,
    },
}

pub(crate) async fn run(client: &Client, args: Args) -> Ended {
    match args.action {
        Action::Remove { machines, format } => remove(client, machines, format).await?,
        Action::Hold { machine, time, format } => {
            let id = machine::find(client, &machine).await?;
            let held = client.hold_machine(&id, HoldRequest { secs: time.as_secs() }).await?;
            show::write(format, &held, |_| {
                format!("{id} is held for {} once its job has ended\n", humantime::format_duration(time))
            })?;
        }
        Action::Unhold { machine, format } => {
            let id = machine::find(client, &machine).await?;
            let view = client.unhold_machine(&id).await?;
            show::write(format, &view, |_| format!("{id} goes with its job\n"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn remove(client: &Client, machines: Vec<String>, format: show::Format) -> anyhow::Result<()> {
    let mut removed: Vec<MachineView> = Vec::new();
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
    Ok(())
}
