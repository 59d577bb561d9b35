//! `fireactions migrate`.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{Ended, show};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Configuration file of another fireactions, or of fireteact
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(crate) fn run(args: &Args) -> Ended {
    let migrated = fireactions_config::migrate(&args.file)?;
    show::line(&migrated.text)?;
    match migrated.unfinished {
        0 => {}
        1 => show::note("one line is yours to finish: the one below '# TODO'"),
        lines => show::note(&format!("{lines} lines are yours to finish: those below '# TODO'")),
    }
    Ok(ExitCode::SUCCESS)
}
