//! `--on all`: each host of the cluster is asked, one after the other.

use std::process::ExitCode;

use fireactions_api::HostEntry;

use super::edge::{self, advise};
use super::{Command, Connection, Ended, jobs, pools, ps, show};

/// Whether the command can be asked of all hosts at once.
pub(super) const fn lists(command: &Command) -> bool {
    match command {
        Command::Ps(args) => args.lists(),
        Command::Jobs(args) => args.lists(),
        Command::Pools(args) => args.lists(),
        _ => false,
    }
}

/// Asks each. One that does not answer hides no other; then the exit code is 1.
pub(super) async fn run(connection: &Connection, command: &Command) -> Ended {
    let here = connection.of(None).open()?;
    let hosts = here.hosts().await?;
    if hosts.is_empty() {
        return Err(advise(
            "this host knows no hosts of a cluster",
            "`fireactions cluster check` says whether it belongs to one, and what is wrong",
        ));
    }
    let mut code = ExitCode::SUCCESS;
    for HostEntry { name, this, .. } in hosts {
        show::line(&format!("{}:\n", show::clean(&name)))?;
        // This one answers also while NATS is not there.
        let client = if this { here.clone() } else { here.on(&name) };
        let listed = match command {
            Command::Ps(args) => ps::run(&client, args).await,
            Command::Jobs(args) => jobs::run(&client, args.clone()).await,
            Command::Pools(args) => pools::run(&client, args.clone()).await,
            _ => Ok(ExitCode::SUCCESS),
        };
        if let Err(error) = listed {
            code = edge::report(&error);
        }
    }
    Ok(code)
}
