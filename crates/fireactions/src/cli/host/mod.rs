//! `fireactions host`: the hosts of a fleet, and new ones.

mod age_key;
mod confirm;
mod deploy;
mod list;
mod register;
mod set;
mod show;
mod stop;
mod tags;
mod unregister;
mod wanted_tags;
mod words;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use fireactions_fleet::registry::{Host, Hosts, Registry};

use super::Ended;
use super::edge::advise;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    flake: Flake,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the hosts of the registry
    List(list::Args),
    /// Show a host
    Show(show::Args),
    /// Add a host that runs NixOS already
    Register(register::Args),
    /// Remove a host from the registry; the host itself is left alone
    Unregister(unregister::Args),
    /// Erase a host, install NixOS on it, and register it
    Deploy(Box<deploy::Args>),
    /// List the tags that hosts can have, and who has them
    Tags(tags::Args),
    /// Change what the registry has about a host
    Set(set::Args),
}

/// Where the fleet is described.
#[derive(Debug, clap::Args)]
struct Flake {
    /// Directory of your flake, with hosts/registry.json and profiles/ in it
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "FIREACTIONS_FLAKE",
        hide_env_values = true,
        default_value = "."
    )]
    flake: PathBuf,
}

impl Flake {
    fn registry(&self) -> Registry {
        Registry::new(&self.flake.join("hosts/registry.json"))
    }

    fn hosts(&self) -> anyhow::Result<Hosts> {
        self.registry().read().map_err(|error| words::registry(&error))
    }

    fn profiles(&self) -> PathBuf {
        self.flake.join("profiles")
    }

    /// As Nix wants it: what has no slash would be a name in Nix's own registry.
    fn reference(&self) -> anyhow::Result<String> {
        if self.flake == Path::new(".") {
            return Ok(".".to_owned());
        }
        let path = std::fs::canonicalize(&self.flake);
        let path = path.map_err(|error| {
            advise(
                format!("{}: {error}", self.flake.display()),
                "name the directory of your flake with --flake",
            )
        })?;
        Ok(path.display().to_string())
    }
}

pub(crate) async fn run(args: Args) -> Ended {
    let flake = args.flake;
    match args.action {
        Action::List(args) => list::run(&flake, &args),
        Action::Show(args) => show::run(&flake, &args).await,
        Action::Register(args) => register::run(&flake, args),
        Action::Unregister(args) => unregister::run(&flake, &args),
        Action::Deploy(args) => deploy::run(&flake, *args).await,
        Action::Tags(args) => tags::run(&flake, &args),
        Action::Set(args) => set::run(&flake, args),
    }
}

/// A host with its name, as JSON has it.
#[derive(Debug, serde::Serialize)]
struct Named<'a> {
    name: &'a str,
    #[serde(flatten)]
    host: &'a Host,
}

/// A host that must be there.
fn find<'a>(hosts: &'a Hosts, name: &str) -> anyhow::Result<&'a Host> {
    hosts.get(name).ok_or_else(|| words::absent(hosts, name))
}
