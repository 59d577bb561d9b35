//! `fireactions`: the server and its command line in one executable.

mod cli;
mod credentials;
#[cfg(feature = "failpoints")]
mod failpoints;
mod registry_cache;
mod server;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

/// How long a thread for work that blocks waits for more of it. Shorter than the server's regular looks at the host are
/// apart, which would keep every thread of a busy hour for ever.
const SPARE: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let cli = cli::Cli::parse_from(cli::old::translate(std::env::args_os()));
    if let Err(error) = cli.old_login.answer() {
        return cli::edge::report(&error);
    }
    // Before there are other threads, since it changes the environment.
    let activation = match cli.command {
        cli::Command::Server(_) => server::Activation::from_environment(),
        _ => server::Activation::default(),
    };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = match runtime.enable_all().thread_keep_alive(SPARE).build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return cli::edge::report(&anyhow::Error::new(error).context("the runtime cannot be started"));
        }
    };
    #[cfg(feature = "failpoints")]
    failpoints::arm();
    let ended = runtime.block_on(async {
        match cli.command {
            cli::Command::Server(args) => server::run(args, activation).await.map(|()| ExitCode::SUCCESS),
            command => cli::run(cli.connection, command).await,
        }
    });
    // A read of standard input that nobody waits for any more must not hold the process.
    runtime.shutdown_background();
    ended.unwrap_or_else(|error| cli::edge::report(&error))
}
