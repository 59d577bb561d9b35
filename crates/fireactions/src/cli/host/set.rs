//! `fireactions host set`.

use std::process::ExitCode;

use clap::ArgGroup;
use fireactions_fleet::host::{Address, user_name};
use fireactions_fleet::provider::{Arch, Provider};
use fireactions_fleet::registry::{Host, Hosts};

use super::super::{Ended, show};
use super::register::is_free;
use super::wanted_tags::WantedTags;
use super::{Flake, find, words};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("change").args(["address", "provider", "tags", "arch", "user", "build_on_target"]).required(true).multiple(true))]
pub(super) struct Args {
    /// Host
    #[arg(value_name = "NAME")]
    name: String,
    /// New IP address or DNS name
    #[arg(long, value_name = "ADDRESS")]
    address: Option<Address>,
    /// Where it runs: do, hetzner, generic, nvme or baremetal
    #[arg(short, long, value_name = "PROVIDER")]
    provider: Option<Provider>,
    #[command(flatten)]
    tags: WantedTags,
    /// Its architecture: x86_64 or aarch64
    #[arg(short, long, value_name = "ARCH")]
    arch: Option<Arch>,
    /// User who logs in for changes
    #[arg(short, long, value_name = "USER", value_parser = user_name)]
    user: Option<String>,
    /// Whether it builds its system itself
    #[arg(long, value_name = "true|false")]
    build_on_target: Option<bool>,
}

pub(super) fn run(flake: &Flake, args: Args) -> Ended {
    let tags = args.tags.check(flake)?;
    let name = args.name.as_str();
    let change = |hosts: &mut Hosts| {
        let mut host = find(hosts, name)?.clone();
        if let Some(address) = args.address {
            is_free(hosts, name, address.as_str())?;
            host.hostname = address.to_string();
        }
        if let Some(provider) = args.provider {
            host.provider = provider.to_string();
        }
        if let Some(arch) = args.arch {
            arch.system().clone_into(&mut host.system);
        }
        if let Some(tags) = tags {
            host.tags = tags;
        }
        if let Some(user) = args.user {
            host.target_user = Some(user).filter(|user| user != "root");
        }
        if let Some(build) = args.build_on_target {
            host.build_on_target = Some(build).filter(|build| !build);
        }
        can_be(&host)?;
        hosts.put(name, host);
        Ok(())
    };
    flake.registry().update(change).map_err(words::update)?;
    show::note(&format!(
        "host '{name}' is changed in the registry; `colmena apply --on {name}` changes the host"
    ));
    Ok(ExitCode::SUCCESS)
}

/// Words that we do not know are the file's own.
fn can_be(host: &Host) -> anyhow::Result<()> {
    if let (Ok(provider), Ok(arch)) = (host.provider.parse::<Provider>(), host.system.parse::<Arch>()) {
        provider.offers(arch)?;
    }
    Ok(())
}
