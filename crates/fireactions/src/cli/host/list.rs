//! `fireactions host list`.

use std::process::ExitCode;

use super::super::{Ended, show};
use super::{Flake, Named};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    format: show::Format,
}

pub(super) fn run(flake: &Flake, args: &Args) -> Ended {
    let hosts = flake.hosts()?;
    let named: Vec<Named<'_>> = hosts.iter().map(|(name, host)| Named { name, host }).collect();
    show::write(args.format, named.as_slice(), render)?;
    Ok(ExitCode::SUCCESS)
}

fn render(hosts: &[Named<'_>]) -> String {
    let mut table = show::table(["NAME", "HOSTNAME", "PROVIDER", "TAGS"]);
    for Named { name, host } in hosts {
        table.add_row(
            [*name, host.hostname.as_str(), host.provider.as_str(), &host.tags.join(",")].map(show::cell),
        );
    }
    show::finish(table)
}
