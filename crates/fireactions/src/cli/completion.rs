//! `fireactions completion`.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Ended, show};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Ended {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "fireactions", &mut script);
    show::line(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
