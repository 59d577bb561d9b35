//! `fireactions validate`.

use std::path::PathBuf;
use std::process::ExitCode;

use fireactions_config::Host;

use super::{Ended, show};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Configuration file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Check only the file, without the CPUs and memory of this host
    #[arg(long)]
    any_host: bool,
}

pub(crate) fn run(args: &Args) -> Ended {
    let host = if args.any_host { Host::unknown() } else { Host::detect() };
    let loaded = fireactions_config::load_for(&args.file, &host)?;
    for warning in &loaded.warnings {
        show::line(&format!("warning: {warning}\n\n"))?;
    }
    let pools = loaded.config.pools.len();
    let s = if pools == 1 { "" } else { "s" };
    show::line(&format!("{}: valid, {pools} pool{s}\n", args.file.display()))?;
    Ok(ExitCode::SUCCESS)
}
