//! `fireactions login`.

use fireactions_api::{Client, ExecRequest};

use super::{Ended, machine, session, terminal};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Machine (or the beginning of its id, or its job)
    #[arg(value_name = "VM")]
    machine: String,
    /// User to log in as [default: root]
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
}

pub(crate) async fn run(client: &Client, args: Args) -> Ended {
    let id = machine::find(client, &args.machine).await?;
    let term = std::env::var("TERM").ok().filter(|term| !term.is_empty());
    let request = ExecRequest {
        argv: Vec::new(),
        tty: Some(terminal::size()?),
        env: term.map(|term| ("TERM".to_owned(), term)).into_iter().collect(),
        user: args.user,
    };
    session::run(client, &id, request).await
}
