//! A look at a Gitea or a Forgejo: what it is, what the token may do, and whether machines can reach it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use fireactions_config::{Config, ForgeRef, GiteaConfig};
use fireactions_gitea::{Access, Kind};
use fireactions_model::{ForgeName, GiteaScope, PoolSpec, Protocol, is_on_this_host};
use tokio::time::timeout;

use super::report::Report;
use crate::server::forges::gitea_client;

/// How long a name is looked up.
const LOOKUP: Duration = Duration::from_secs(10);
/// A clock that is off by more makes times in the lists of jobs odd; nothing else hangs on it.
const CLOCK: i64 = 60;

/// Looks at one Gitea or Forgejo as its pools need it.
///
/// # Errors
/// When it is not set up so that anything could be asked.
pub(super) async fn look(
    report: &mut Report,
    config: &Config,
    name: &ForgeName,
    forge: ForgeRef<'_>,
) -> anyhow::Result<()> {
    let (kind, settings) = match forge {
        ForgeRef::Gitea(settings) => (Kind::Gitea, settings),
        ForgeRef::Forgejo(settings) => (Kind::Forgejo, settings),
        ForgeRef::Github(_) => anyhow::bail!("'{name}' is a GitHub"),
    };
    let key = config.forge_key(name);
    let client = gitea_client(settings, kind, &key)?;
    let is_its = |pool: &PoolSpec| pool.forge.as_ref().is_some_and(|its| its.name == *name);
    let pools: Vec<PoolSpec> = config.pools().into_iter().filter(is_its).collect();
    anyhow::ensure!(
        !pools.is_empty(),
        "no pool serves '{name}': add 'forge: {name}' and organization, repository or scope below 'runner:' of a pool"
    );
    let mut scopes: Vec<GiteaScope> = Vec::new();
    for runner in pools.iter().filter_map(PoolSpec::gitea) {
        if !scopes.contains(&runner.scope) {
            scopes.push(runner.scope.clone());
        }
    }
    for scope in &scopes {
        report.head(&format!("{name}, {scope}"));
        match client.access(scope).await {
            Ok(access) => told(report, &access),
            Err(error) => {
                report.problem(&error.to_string(), "fix this first; nothing else can be checked until then");
                return Ok(());
            }
        }
    }
    report.head(&format!("{name}, from inside the machines"));
    reach(report, settings, &key, &pools).await;
    Ok(())
}

fn told(report: &mut Report, access: &Access) {
    report.well(&format!("the server is {}", access.server));
    for check in &access.checks {
        match &check.outcome {
            Ok(()) => report.well(&format!("the token may {}", check.doing)),
            Err(error) => {
                let wanted = access.needs.iter().map(|need| format!("{} ({})", need.scope, need.why));
                let wanted: Vec<String> = wanted.collect();
                let todo = if wanted.is_empty() {
                    "create a new registration token on the page of runners".to_owned()
                } else {
                    format!("the token needs the scopes {}", wanted.join(", "))
                };
                report.problem(&error.to_string(), &todo);
            }
        }
    }
    for lack in &access.lacks {
        report.note(lack);
    }
    if let Some(ahead) = access.clock.filter(|ahead| ahead.as_secs().abs() > CLOCK) {
        report.note(&format!("the server's clock differs from this host's by {} s", ahead.as_secs()));
    }
}

/// Whether each pool's machines can reach the server: they call it at the same address as this host does.
async fn reach(report: &mut Report, settings: &GiteaConfig, key: &str, pools: &[PoolSpec]) {
    let url = &settings.url;
    if is_on_this_host(url) {
        report.problem(
            &format!("{key}.url is an address of this host itself; in a machine it means the machine"),
            "use an address of this host that machines can reach, such as the bridge's, and open its port with network.host_ports",
        );
        return;
    }
    if settings.proxy.is_some() {
        report.note("machines do not use the proxy: the runner in the image needs its own route");
    }
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return };
    let found = timeout(LOOKUP, tokio::net::lookup_host((host.trim_matches(['[', ']']), port))).await;
    let addresses: Vec<IpAddr> = match found {
        Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    };
    let v4: Vec<Ipv4Addr> = addresses
        .iter()
        .filter_map(|address| if let IpAddr::V4(address) = address { Some(*address) } else { None })
        .collect();
    if v4.is_empty() {
        report.note(&format!("this host finds no IPv4 address for {host}; machines have only IPv4"));
        return;
    }
    for pool in pools {
        let opened = |address: &Ipv4Addr| {
            !fireactions_net::is_reserved(*address)
                || pool.network.allow.iter().any(|network| network.contains(address))
                || pool
                    .network
                    .host_ports
                    .iter()
                    .any(|rule| rule.protocol == Protocol::Tcp && rule.port == port)
        };
        if v4.iter().any(opened) {
            report.well(&format!("machines of pool '{}' can reach {host}", pool.name));
        } else {
            report.problem(
                &format!("machines of pool '{}' cannot reach {host}: {} is not a public address", pool.name, v4[0]),
                &format!("add '{}/32' to network.allow of the pool, or its port to network.host_ports if it is this host", v4[0]),
            );
        }
    }
}
