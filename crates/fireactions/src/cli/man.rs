//! `fireactions man`: man pages for packages, and the reference page of the documentation.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;

use super::{Cli, Ended, reference};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory; created if it does not exist
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Write the one page cli.md instead
    #[arg(long)]
    markdown: bool,
}

pub(crate) fn run(args: &Args) -> Ended {
    let shown = args.directory.display();
    std::fs::create_dir_all(&args.directory).with_context(|| format!("cannot make {shown}"))?;
    if args.markdown {
        let file = args.directory.join("cli.md");
        std::fs::write(&file, reference::page(Cli::command()))
            .with_context(|| format!("cannot write {}", file.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    clap_mangen::generate_to(Cli::command(), &args.directory)
        .with_context(|| format!("cannot write man pages into {shown}"))?;
    Ok(ExitCode::SUCCESS)
}
