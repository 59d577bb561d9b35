//! The command line: one file per subcommand, each with its arguments and what it does.

mod cache;
mod cluster;
mod completion;
mod config_file;
mod connection;
mod copy;
mod doctor;
mod drain;
pub(crate) mod edge;
mod exec;
mod follow;
mod forge;
mod gitea;
mod github;
mod host;
mod image;
mod jobs;
mod login;
mod logs;
mod machine;
mod machines;
mod man;
mod migrate;
pub(crate) mod old;
mod on_all;
mod pools;
mod progress;
mod ps;
mod reference;
mod report;
mod run;
pub(crate) mod server;
mod session;
mod show;
mod state;
mod terminal;
mod top;
mod validate;
mod version;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub(crate) use connection::Connection;

/// What a subcommand gives back: the exit code, or the error for the error edge.
pub(crate) type Ended = anyhow::Result<ExitCode>;

/// One job, one microVM.
#[derive(Debug, Parser)]
#[command(name = "fireactions", version, max_term_width = 100, propagate_version = false)]
pub(crate) struct Cli {
    /// How to reach the server.
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// Print version
    #[arg(short = 'v', hide = true, action = clap::ArgAction::Version)]
    old_version: Option<bool>,
    /// What other programs of this name are told who asks.
    #[command(flatten)]
    pub(crate) old_login: old::Login,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server
    Server(server::Args),
    /// Check a configuration file
    Validate(validate::Args),
    /// Print a configuration file of another program as one of this one's
    Migrate(migrate::Args),
    /// Check this host and say how to fix what is missing
    Doctor(doctor::Args),
    /// Run a job in a microVM, stream its output and exit with its exit code
    Run(Box<run::Args>),
    /// Check a forge by its name in the configuration
    Forge(forge::Args),
    /// Check every Gitea of the configuration
    Gitea(forge::KindArgs),
    /// Check every Forgejo of the configuration
    Forgejo(forge::KindArgs),
    /// Check the GitHub side of the configuration, or prepare it
    Github(github::Args),
    /// Show the hosts of the cluster, and check its NATS
    Cluster(cluster::Args),
    /// Show, cancel and read jobs
    Jobs(jobs::Args),
    /// Show machines
    #[command(alias = "ls")]
    Ps(ps::Args),
    /// Show the host, its pools, jobs and machines in a terminal, as they change
    Top(top::Args),
    /// Show a machine's console
    Logs(logs::Args),
    /// Run a program in a machine
    Exec(exec::Args),
    /// Open a shell in a machine
    Login(login::Args),
    /// Hold and remove machines
    Machines(machines::Args),
    /// Empty this host for maintenance: running jobs finish, new jobs are queued
    Drain(drain::Args),
    /// Let a drained host take work again
    Undrain(drain::UndrainArgs),
    /// Show and change pools
    Pools(pools::Args),
    /// Show and clean the caches of actions and of registries, and run the one of registries
    Cache(cache::Args),
    /// Show, pull and remove images
    Image(image::Args),
    /// List, deploy and change the hosts of a fleet
    Host(host::Args),
    /// Check and rebuild the state database of a stopped server
    State(state::Args),
    /// Show the versions of this program and of the server
    Version(version::Args),
    /// Write completions for a shell to standard output
    Completion(completion::Args),
    /// Write the man pages into a directory
    #[command(hide = true)]
    Man(man::Args),
    /// Of other programs of this name
    #[command(hide = true)]
    Reload(old::Args),
    /// Of other programs of this name
    #[command(hide = true)]
    Microvm(old::Args),
    /// Of other programs of this name
    #[command(hide = true)]
    Runner(old::Args),
    /// Of other programs of this name
    #[command(hide = true)]
    Agent(old::Args),
    /// Of other programs of this name
    #[command(hide = true)]
    List(old::Args),
    /// Of other programs of this name
    #[command(hide = true)]
    Show(old::Args),
    /// Of other programs of this name
    #[command(hide = true)]
    Pause(old::Args),
    /// Of other programs of this name
    #[command(hide = true)]
    Resume(old::Args),
    /// Of other programs of this name
    #[command(hide = true)]
    Scale(old::Args),
}

const OWN_AGENT: &str = "the server puts its own agent into each guest, which starts the forge's runner; an image needs nothing of ours";

/// Runs everything but the server.
pub(crate) async fn run(connection: Connection, command: Command) -> Ended {
    if connection.is_of_all() && on_all::lists(&command) {
        return Box::pin(on_all::run(&connection, &command)).await;
    }
    match command {
        Command::Server(_) => Err(anyhow::anyhow!("the server is started by the main program")),
        Command::Validate(args) => validate::run(&args),
        Command::Migrate(args) => migrate::run(&args),
        Command::Doctor(args) => doctor::run(&args).await,
        Command::Run(args) => run::run(&connection.open()?, *args).await,
        Command::Forge(args) => forge::run(args).await,
        Command::Gitea(args) => forge::run_kind(args, "Gitea").await,
        Command::Forgejo(args) => forge::run_kind(args, "Forgejo").await,
        Command::Github(args) => github::run(args).await,
        Command::Cluster(args) => cluster::run(args).await,
        Command::Jobs(args) => jobs::run(&connection.open()?, args).await,
        Command::Ps(args) => ps::run(&connection.open()?, &args).await,
        Command::Top(args) => top::run(&connection.open()?, &args).await,
        Command::Logs(args) => logs::run(&connection.open()?, &args).await,
        Command::Exec(args) => exec::run(&connection.open()?, args).await,
        Command::Login(args) => login::run(&connection.open()?, args).await,
        Command::Machines(args) => machines::run(&connection.open()?, args).await,
        Command::Drain(args) => drain::run(&args.on(&connection).open()?, args).await,
        Command::Undrain(args) => drain::undrain(&args.on(&connection).open()?, &args).await,
        Command::Pools(args) => pools::run(&connection.open()?, args).await,
        Command::Cache(args) => cache::run(args, || connection.open()).await,
        Command::Image(args) => image::run(&connection.open()?, args).await,
        Command::Host(args) => host::run(args).await,
        Command::State(args) => state::run(&args),
        Command::Version(args) => version::run(&connection, &args).await,
        Command::Completion(args) => completion::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Reload(_) => old::answer(
            "reload",
            "`systemctl reload fireactions` and `fireactions server --replace` take a changed configuration over",
        ),
        Command::Microvm(_) => old::answer(
            "microvm",
            "`fireactions ps` shows machines, and `fireactions login MACHINE` opens a shell in one",
        ),
        Command::Runner(_) => old::answer("runner", OWN_AGENT),
        Command::Agent(_) => old::answer("agent", OWN_AGENT),
        Command::List(_) => old::answer("list", "pools are shown by `fireactions pools list`"),
        Command::Show(_) => old::answer("show", "a pool is shown by `fireactions pools show POOL`"),
        Command::Pause(_) => old::answer("pause", "a pool is paused by `fireactions pools pause POOL`"),
        Command::Resume(_) => old::answer("resume", "a pool is resumed by `fireactions pools resume POOL`"),
        Command::Scale(_) => {
            old::answer("scale", "a pool is scaled by `fireactions pools scale POOL --min N --max N`")
        }
    }
}

#[cfg(test)]
mod tests;
