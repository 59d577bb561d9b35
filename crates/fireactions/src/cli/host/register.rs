//! `fireactions host register`.

use std::process::ExitCode;

use fireactions_fleet::host::{Address, HostName, user_name};
use fireactions_fleet::provider::{Arch, Provider};
use fireactions_fleet::registry::{Host, Hosts};
use jiff::Timestamp;

use super::super::edge::advise;
use super::super::{Ended, show};
use super::wanted_tags::WantedTags;
use super::{Flake, words};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of the new host
    #[arg(value_name = "NAME")]
    name: HostName,
    /// IP address or DNS name of the host
    #[arg(value_name = "ADDRESS")]
    address: Address,
    /// Where it runs: do, hetzner, generic, nvme or baremetal
    #[arg(short, long, value_name = "PROVIDER", default_value = "baremetal")]
    provider: Provider,
    #[command(flatten)]
    tags: WantedTags,
    /// Its architecture: x86_64 or aarch64
    #[arg(short, long, value_name = "ARCH", default_value = "x86_64")]
    arch: Arch,
    /// User who logs in for changes
    #[arg(short, long, value_name = "USER", default_value = "root", value_parser = user_name)]
    user: String,
}

pub(super) fn run(flake: &Flake, args: Args) -> Ended {
    args.provider.offers(args.arch)?;
    let host = Host {
        hostname: args.address.to_string(),
        provider: args.provider.to_string(),
        system: args.arch.system().to_owned(),
        deployed: Some(now()),
        tags: args.tags.check(flake)?.unwrap_or_default(),
        target_user: Some(args.user).filter(|user| user != "root"),
        build_on_target: None,
        more: serde_json::Map::new(),
    };
    let name = args.name.as_str();
    let added = |hosts: &mut Hosts| {
        if hosts.get(name).is_some() {
            return Err(advise(
                format!("host '{name}' is registered already"),
                format!("`fireactions host set {name}` changes it; or choose another name"),
            ));
        }
        is_free(hosts, name, &host.hostname)?;
        hosts.put(name, host.clone());
        Ok(())
    };
    flake.registry().update(added).map_err(words::update)?;
    show::note(&format!("host '{name}' is registered; `colmena apply --on {name}` gives it its profiles"));
    Ok(ExitCode::SUCCESS)
}

/// No two hosts have one address.
pub(super) fn is_free(hosts: &Hosts, name: &str, address: &str) -> anyhow::Result<()> {
    match hosts.at(address).filter(|its| *its != name) {
        None => Ok(()),
        Some(other) => Err(advise(
            format!("{address} is the address of host '{other}'"),
            format!("use the name '{other}', or `fireactions host unregister {other}` first"),
        )),
    }
}

/// To the second, in ISO 8601, as `date -Iseconds` writes it.
pub(super) fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}
