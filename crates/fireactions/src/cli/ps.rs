//! `fireactions ps`.

use std::process::ExitCode;

use fireactions_api::Client;
use fireactions_model::MachineView;

use super::{Ended, show};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    format: show::Format,
}

pub(crate) async fn run(client: &Client, args: &Args) -> Ended {
    let machines = client.machines().await?;
    show::write(args.format, machines.as_slice(), render)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn render(machines: &[MachineView]) -> String {
    let mut table = show::table([
        "MACHINE", "POOL", "STATE", "JOB", "IMAGE", "CPUS", "MEMORY", "ADDRESS", "AGE", "FAILURE",
    ]);
    for machine in machines {
        table.add_row([
            show::cell(&machine.id),
            show::cell(&machine.pool),
            show::machine_state(machine.state),
            show::maybe(machine.job.as_ref()),
            show::cell(&machine.shape.image),
            show::cell(machine.shape.vcpus),
            show::cell(format!("{} MiB", machine.shape.memory_mib)),
            show::maybe(machine.address),
            show::cell(show::ago(machine.created_at)),
            show::maybe(machine.failure.as_ref().map(|failure| &failure.message)),
        ]);
    }
    show::finish(table)
}
