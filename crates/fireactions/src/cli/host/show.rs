//! `fireactions host show`.

use std::process::ExitCode;

use anyhow::Context as _;
use fireactions_fleet::registry::Host;
use fireactions_fleet::ssh::Ssh;
use serde_json::Value;

use super::super::{Ended, show};
use super::{Flake, Named, age_key, find, words};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Host
    #[arg(value_name = "NAME")]
    name: String,
    /// Ask the host for its SSH host key, and print only the age key that belongs to it, for secrets/.sops.yaml
    #[arg(long, conflicts_with = "json")]
    age_key: bool,
    /// Option for ssh, as after `ssh -o`; can be given several times
    #[arg(long = "ssh-option", value_name = "KEY=VALUE")]
    ssh_options: Vec<String>,
    #[command(flatten)]
    format: show::Format,
}

pub(super) async fn run(flake: &Flake, args: &Args) -> Ended {
    let hosts = flake.hosts()?;
    let host = find(&hosts, &args.name)?;
    if args.age_key {
        let address =
            host.hostname.parse().with_context(|| format!("'{}' of host '{}'", host.hostname, args.name))?;
        let user = host.target_user.as_deref().unwrap_or("root");
        let ssh = Ssh::new(user, &address, &args.ssh_options, false).map_err(|error| words::ssh(&error))?;
        show::line(&format!("{}\n", age_key::ask(&ssh).await?))?;
        return Ok(ExitCode::SUCCESS);
    }
    show::write(args.format, &Named { name: &args.name, host }, |named| render(named.name, named.host))?;
    Ok(ExitCode::SUCCESS)
}

fn render(name: &str, host: &Host) -> String {
    let none = || "-".to_owned();
    let mut rows = vec![
        ("name", name.to_owned()),
        ("hostname", host.hostname.clone()),
        ("provider", host.provider.clone()),
        ("system", host.system.clone()),
        ("deployed", host.deployed.clone().unwrap_or_else(none)),
        ("tags", if host.tags.is_empty() { none() } else { host.tags.join(", ") }),
        ("user", host.target_user.clone().unwrap_or_else(|| "root".to_owned())),
        ("builds", if host.build_on_target.unwrap_or(true) { "on the host" } else { "elsewhere" }.to_owned()),
    ];
    rows.extend(host.more.iter().map(|(key, value)| {
        (key.as_str(), value.as_str().map_or_else(|| Value::to_string(value), str::to_owned))
    }));
    show::rows(&rows)
}
