//! `fireactions cache`: the host's caches, of actions and of registries. See docs/caches.md.

mod ahead;
mod authority;
mod child;
mod front;
mod keep;
mod places;
mod proxy;
mod render;
mod room;
mod serve;
mod show;
mod told;
mod upstream;
mod warm;
mod wire;

use clap::Subcommand;
use fireactions_api::Client;
use fireactions_config::Config;
use fireactions_registry_cache::Cache;

use super::Ended;
use super::config_file::ConfigFile;
use super::edge::advise;
use super::show::Format;
use crate::registry_cache;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the caches of actions and of registries, whether they are up and what is in them, and what sticky directories keep
    Status {
        #[command(flatten)]
        format: Format,
    },
    /// List the entries of the cache of actions
    #[command(alias = "ls")]
    List {
        #[command(flatten)]
        format: Format,
    },
    /// Remove entries of the cache of actions, or what sticky directories keep, those unused for longest first
    Gc(show::Gc),
    /// Run the cache of registries: start its programs at the bridge's address, and start them again when they end
    Run(ConfigFile),
    /// Pull images through the running cache of registries, on its host, so that the first job finds them
    Warm(ahead::Args),
    /// Print what a part of the cache of registries is told
    Render(render::Args),
    /// Run a program that ends with its parent
    #[command(hide = true)]
    Child(child::Args),
}

pub(crate) async fn run(args: Args, client: impl FnOnce() -> anyhow::Result<Client>) -> Ended {
    match args.action {
        Action::Status { format } => show::status(&client()?, format).await,
        Action::List { format } => show::list(&client()?, format).await,
        Action::Gc(args) => show::gc(&client()?, args).await,
        Action::Run(file) => serve::run(&file.load()?).await,
        Action::Warm(args) => ahead::run(args).await,
        Action::Render(args) => render::run(&args),
        Action::Child(args) => child::run(&args),
    }
}

/// The configured cache.
fn enabled(config: &Config) -> anyhow::Result<Cache> {
    registry_cache::of(config).ok_or_else(|| {
        advise(
            "the cache of registries is off",
            "write 'registry_cache: {enabled: true}' into the configuration",
        )
    })
}
