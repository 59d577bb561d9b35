//! `fireactions host unregister`.

use std::process::ExitCode;

use super::super::{Ended, show};
use super::{Flake, words};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Host
    #[arg(value_name = "NAME")]
    name: String,
}

pub(super) fn run(flake: &Flake, args: &Args) -> Ended {
    let name = &args.name;
    let removed = flake
        .registry()
        .update(|hosts| hosts.remove(name).ok_or_else(|| words::absent(hosts, name)))
        .map_err(words::update)?;
    show::note(&format!(
        "host '{name}' ({}) is not in the registry any more; the host itself runs on",
        removed.hostname
    ));
    Ok(ExitCode::SUCCESS)
}
