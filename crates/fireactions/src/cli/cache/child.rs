//! A program that does not outlive who started it: the kernel ends it with its parent, however that ends.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use crate::cli::Ended;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The parent's process id
    parent: i32,
    /// The program and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<OsString>,
}

/// Becomes the program.
pub(super) fn run(args: &Args) -> Ended {
    set_parent_process_death_signal(Some(Signal::TERM)).context("the kernel does not end children")?;
    // It may have ended before it was asked.
    if getppid() != Pid::from_raw(args.parent) {
        bail!("the parent has ended");
    }
    let Some((program, arguments)) = args.command.split_first() else { bail!("there is no program") };
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("{} cannot be started", program.display()))
}
