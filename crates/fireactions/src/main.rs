//! `fireactions`: the server and its command line in one executable.

mod cli;
#[cfg(feature = "failpoints")]
mod failpoints;
mod server;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse_from(cli::old::translate(std::env::args_os()));
    // Before there are other threads, since it changes the environment.
    let activation = match cli.command {
        cli::Command::Server(_) => server::Activation::from_environment(),
        _ => server::Activation::default(),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
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
