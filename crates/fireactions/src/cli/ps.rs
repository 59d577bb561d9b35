//! `fireactions ps`.

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

use fireactions_api::{Client, MachineUsage};
use fireactions_model::{HostView, MachineState, MachineView, StartMode};

use super::{Ended, show};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    format: show::Format,
}

impl Args {
    /// Whether it is for people.
    pub(super) const fn lists(&self) -> bool {
        !self.format.json
    }
}

pub(crate) async fn run(client: &Client, args: &Args) -> Ended {
    let machines = client.machines().await?;
    // In JSON this is the list that it always was; `GET /api/v1/host` tells the rest.
    let host = if args.format.json { None } else { Some(client.host().await?) };
    // A server of before does not say what machines use; that is no reason not to show them.
    let usage = if args.format.json { Vec::new() } else { client.usage().await.unwrap_or_default() };
    show::write(args.format, machines.as_slice(), |machines| {
        let table = render(machines, &usage);
        host.as_ref().and_then(drained).map_or_else(|| table.clone(), |line| format!("{line}\n{table}"))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A drained host, on one line.
pub(super) fn drained(host: &HostView) -> Option<String> {
    let drained = host.drained.as_ref()?;
    let why = if drained.why.is_empty() { String::new() } else { format!(": {}", show::clean(&drained.why)) };
    let busy = match host.busy() {
        0 => "no machine is busy".to_owned(),
        1 => "1 machine still busy".to_owned(),
        busy => format!("{busy} machines still busy"),
    };
    Some(format!("host drained since {}{why}; {busy}", drained.since.strftime("%Y-%m-%dT%H:%M:%SZ")))
}

/// Why it failed, of a held one until when it stays, and for how long one is to be held.
pub(super) fn failure(machine: &MachineView) -> Option<String> {
    let why = machine.failure.as_ref().map(|failure| failure.message.as_str());
    let wished = machine.hold_secs.map(|secs| {
        let time = humantime::format_duration(Duration::from_secs(secs));
        format!("to be held for {time} after its job")
    });
    if machine.state != MachineState::Held {
        return why.map(str::to_owned).or(wished);
    }
    // Without a failure, somebody wanted it.
    Some(format!("held {}: {}", show::until(machine.held_until), why.unwrap_or("an operator asked for it")))
}

/// Processors that a machine keeps busy, of those that it has.
pub(super) fn processors(machine: &MachineView, usage: Option<&MachineUsage>) -> String {
    let vcpus = machine.shape.vcpus;
    match usage.and_then(|usage| usage.millicores) {
        Some(millicores) => format!("{}.{:02} of {vcpus}", millicores / 1000, millicores % 1000 / 10),
        None => vcpus.to_string(),
    }
}

/// Memory that a machine takes of the host, of what its guest has.
pub(super) fn memory(machine: &MachineView, usage: Option<&MachineUsage>) -> String {
    let of = machine.shape.memory_mib;
    usage.map_or_else(|| format!("{of} MiB"), |usage| format!("{} of {of} MiB", usage.memory >> 20))
}

pub(super) fn render(machines: &[MachineView], usage: &[MachineUsage]) -> String {
    let usage: HashMap<_, _> = usage.iter().map(|usage| (&usage.machine, usage)).collect();
    let mut table = show::table([
        "MACHINE", "POOL", "STATE", "START", "JOB", "IMAGE", "CPUS", "MEMORY", "ADDRESS", "AGE", "FAILURE",
    ]);
    for machine in machines {
        table.add_row([
            show::cell(&machine.id),
            show::cell(&machine.pool),
            show::machine_state(machine.state),
            show::maybe(machine.started.map(StartMode::as_str)),
            show::maybe(machine.job.as_ref()),
            show::cell(&machine.shape.image),
            show::cell(processors(machine, usage.get(&machine.id).copied())),
            show::cell(memory(machine, usage.get(&machine.id).copied())),
            show::maybe(machine.address),
            show::cell(show::ago(machine.created_at)),
            show::maybe(failure(machine)),
        ]);
    }
    show::finish(table)
}

/// All that is known of one.
pub(super) fn render_one(machine: &MachineView, usage: Option<&MachineUsage>) -> String {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let rows = [
        ("Machine", machine.id.to_string()),
        ("State", format!("{}, since {:.0}", machine.state, machine.state_since)),
        ("Step", machine.step.as_str().to_owned()),
        ("Pool", machine.pool.to_string()),
        ("Job", or_none(machine.job.as_ref().map(ToString::to_string))),
        ("Note", or_none(failure(machine))),
        ("CPUs", processors(machine, usage)),
        ("Memory", memory(machine, usage)),
        ("Disk", format!("{} MiB", machine.shape.disk_mib)),
        ("Image", machine.shape.image.to_string()),
        ("Start", or_none(machine.started.map(|start| start.as_str().to_owned()))),
        ("Address", or_none(machine.address.map(|address| address.to_string()))),
        ("Process", or_none(machine.pid.map(|pid| pid.to_string()))),
        ("Made", machine.created_at.to_string()),
        ("Phases", show::phases(&machine.phases)),
    ];
    show::rows(&rows)
}
