//! The proxy for the guests' web: Squid, which is told anew whenever this host has other addresses.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use fireactions_config::Config;
use fireactions_fleet::doctor::{proxy_missing, proxy_program};
use fireactions_registry_cache::{Bump, Cache, SquidFiles, squid};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::authority;
use super::keep::{Part, When, keep};
use crate::cli::edge::advise;

/// Between two looks at this host's addresses.
const LOOK: Duration = Duration::from_secs(2);
/// Between two looks at the authority's end, which is days away when it is made anew.
const RENEWAL: Duration = Duration::from_secs(3600);
/// For what Squid prepares before it starts.
const PREPARING: Duration = Duration::from_secs(120);

/// Starts to keep Squid, where there is to be a proxy. `files`: the directory of what is for this process' programs alone.
pub(super) async fn start(
    cache: &Cache,
    config: &Config,
    files: &Path,
    tasks: &mut JoinSet<()>,
    stopped: &watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let Some(proxy) = &cache.proxy else { return Ok(()) };
    let own = &config.registry_cache.proxy;
    let binary = match (proxy_program(own), proxy_missing(own)) {
        (Some(binary), None) => binary,
        (_, missing) => {
            let what = missing.unwrap_or("squid");
            return Err(advise(
                format!("{what} is not there for the proxy"),
                "`apt-get install squid-openssl`, then `systemctl disable --now squid`",
            ));
        }
    };
    if rustix::process::geteuid().is_root() {
        return Err(advise(
            "Squid does not run as root, and neither does `fireactions cache run` with registry_cache.proxy",
            "start it by the unit fireactions-registry-cache.service, which has a user of its own, or as another user",
        ));
    }
    let storage = cache.storage.join("squid");
    super::places::make_directory(&storage, 0o750)?;
    let (certificate, key) = cache.authority();
    let (made, certgen) = (files.join("certificates"), own.certgen_binary.to_path_buf());
    let authority = Authority {
        certificate: certificate.clone(),
        key: key.clone(),
        made: made.clone(),
        certgen: certgen.clone(),
    };
    let authority = (proxy.bump != Bump::Off).then_some(authority);
    if let Some(authority) = &authority {
        authority.ensure()?;
        authority.empty_store().await?;
    }
    let file = files.join("squid.conf");
    let text = {
        let cache = cache.clone();
        move |host: &BTreeSet<IpAddr>| {
            let host = told(host);
            let files = SquidFiles {
                certificate: &certificate,
                key: &key,
                certgen: &certgen,
                made: &made,
                host: &host,
            };
            squid(&cache, files).unwrap_or_default()
        }
    };
    let host = addresses()?;
    std::fs::write(&file, text(&host)).with_context(|| format!("{} could not be written", file.display()))?;
    // Squids of one name share memory by that, and this one is nobody's brother, nor that of one that was killed.
    let name = format!("fireactions{}", std::process::id());
    prepare(&binary, &["-N".as_ref(), "-z".as_ref(), "-n".as_ref(), name.as_ref(), "-f".as_ref(), &file])
        .await?;
    let (changes, changed) = watch::channel(0_u64);
    let part = Part {
        name: "the web".to_owned(),
        binary,
        arguments: ["-N", "-d", "1", "-n", &name, "-f"]
            .map(PathBuf::from)
            .into_iter()
            .chain([file.clone()])
            .collect(),
        listen: Some((cache.gateway, proxy.port).into()),
        when: When::Unchanged(changed),
    };
    tasks.spawn(keep(part, stopped.clone()));
    tasks.spawn(follow(file, host, text, authority, changes, stopped.clone()));
    Ok(())
}

/// Whose certificates the proxy shows to guests.
struct Authority {
    certificate: PathBuf,
    key: PathBuf,
    /// The certificates that were made by it.
    made: PathBuf,
    /// The program of Squid's that makes them.
    certgen: PathBuf,
}

impl Authority {
    /// Makes it, unless there is one that is valid for long enough. True: it was made.
    fn ensure(&self) -> anyhow::Result<bool> {
        let is_new = authority::ensure(&self.certificate, &self.key)?;
        if is_new {
            tracing::info!(
                certificate = %self.certificate.display(),
                "made an authority for the proxy: guests that start from now on trust it"
            );
        }
        Ok(is_new)
    }

    /// Makes the store of the certificates that Squid makes, without those of another authority.
    async fn empty_store(&self) -> anyhow::Result<()> {
        match tokio::fs::remove_dir_all(&self.made).await {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("{} cannot be removed", self.made.display()));
            }
            _ => {}
        }
        let arguments = ["-c".as_ref(), "-s".as_ref(), &*self.made, "-M".as_ref(), "16MB".as_ref()];
        prepare(&self.certgen, &arguments).await
    }
}

/// Tells Squid of other addresses of this host, and of another authority, until all is to stop.
async fn follow(
    file: PathBuf,
    mut known: BTreeSet<IpAddr>,
    text: impl Fn(&BTreeSet<IpAddr>) -> String,
    authority: Option<Authority>,
    changes: watch::Sender<u64>,
    mut stop: watch::Receiver<bool>,
) {
    let mut renewed = Instant::now();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        if let Some(authority) = authority.as_ref().filter(|_| renewed.elapsed() >= RENEWAL) {
            renewed = Instant::now();
            match authority.ensure() {
                Ok(true) => {
                    if let Err(error) = authority.empty_store().await {
                        tracing::warn!("{error:#}");
                    }
                    // Guests trust the new one, so Squid must not go on with the old one.
                    changes.send_modify(|number| *number += 1);
                }
                Ok(false) => {}
                Err(error) => tracing::warn!("{error:#}; tried again in an hour"),
            }
        }
        // What cannot be asked for now is asked for again.
        let Ok(now) = addresses() else { continue };
        if now == known {
            continue;
        }
        let (before, after) = (text(&known), text(&now));
        if before != after {
            if let Err(error) = std::fs::write(&file, after) {
                tracing::warn!("{} could not be written, and is tried again: {error}", file.display());
                continue;
            }
            tracing::info!(
                "this host has other addresses: the proxy starts again, so that it leads to none of them"
            );
            changes.send_modify(|number| *number += 1);
        }
        known = now;
    }
}

/// This host's addresses.
pub(super) fn addresses() -> anyhow::Result<BTreeSet<IpAddr>> {
    let all = nix::ifaddrs::getifaddrs().context("this host's addresses cannot be asked for")?;
    let ip = |one: nix::ifaddrs::InterfaceAddress| {
        let address = one.address?;
        let four = address.as_sockaddr_in().map(|at| IpAddr::V4(at.ip()));
        four.or_else(|| address.as_sockaddr_in6().map(|at| IpAddr::V6(at.ip())))
    };
    Ok(all.filter_map(ip).collect())
}

/// Those that Squid has to be told of: what is denied in any case need not be said again.
pub(super) fn told(all: &BTreeSet<IpAddr>) -> Vec<IpAddr> {
    all.iter().copied().filter(|ip| is_told(*ip)).collect()
}

fn is_told(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !(ip.is_loopback() || ip.is_private() || ip.is_link_local()),
        IpAddr::V6(ip) => !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()),
    }
}

/// Runs a program to its end.
async fn prepare(binary: &Path, arguments: &[&Path]) -> anyhow::Result<()> {
    let mut command = Command::new(binary);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let what = binary.display();
    let output = timeout(PREPARING, command.output())
        .await
        .with_context(|| format!("{what} did not end within {PREPARING:?}"))?
        .with_context(|| format!("{what} could not be started"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let why = said.lines().rev().find(|line| line.contains("FATAL") || line.contains("ERROR"));
        let said = why.or_else(|| said.lines().last()).unwrap_or_default();
        bail!("{what} could not prepare the proxy ({}): {}", output.status, fireactions_http::plain(said));
    }
    Ok(())
}
