//! `fireactions man`: for packages.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;

use super::{Cli, Ended};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory; made when absent
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(crate) fn run(args: &Args) -> Ended {
    let shown = args.directory.display();
    std::fs::create_dir_all(&args.directory).with_context(|| format!("cannot make {shown}"))?;
    clap_mangen::generate_to(Cli::command(), &args.directory)
        .with_context(|| format!("cannot write man pages into {shown}"))?;
    Ok(ExitCode::SUCCESS)
}
