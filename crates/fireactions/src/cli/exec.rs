//! `fireactions exec`.

use fireactions_api::{Client, ExecRequest};

use super::{Ended, machine, session, terminal};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Machine (or the beginning of its id, or its job)
    #[arg(value_name = "VM")]
    machine: String,
    /// Give the program a terminal
    #[arg(short, long)]
    tty: bool,
    /// User to run as [default: root]
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// Environment variable; NAME alone takes its value from the environment
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Program and arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

pub(crate) async fn run(client: &Client, args: Args) -> Ended {
    let id = machine::find(client, &args.machine).await?;
    let request = ExecRequest {
        argv: args.command,
        tty: if args.tty { Some(terminal::size()?) } else { None },
        env: super::run::environment(&args.env)?,
        user: args.user,
    };
    session::run(client, &id, request).await
}
