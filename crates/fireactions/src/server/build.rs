//! From the configuration to the parts.

use std::collections::{BTreeMap, BTreeSet};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use fireactions_config::Config;
use fireactions_forge::local::LocalConfig;
use fireactions_image::{ImageError, Images, ImagesConfig, Limits, LocalSources, scratch};
use fireactions_net::{Ipv6Config, NetConfig, Network};
use fireactions_registry_cache::Cache;
use fireactions_store::{Store, StoreError};
use tokio::time::Instant;

use super::sockets::{Name, Role};

/// An earlier server that is going holds its locks until the end of its process.
const LOCKED_PATIENCE: Duration = Duration::from_secs(10);
/// Whose claim on the namespace it is cannot be asked.
const CLAIMED_PATIENCE: Duration = Duration::from_secs(1);
const LOCKED_PAUSE: Duration = Duration::from_millis(20);

/// The directories in the state directory.
pub(super) struct StateDirs {
    pub(super) run: PathBuf,
    pub(super) boot: PathBuf,
    pub(super) images: PathBuf,
    pub(super) scratch: PathBuf,
    pub(super) uploads: PathBuf,
}

impl StateDirs {
    pub(super) fn of(state: &Path) -> Self {
        Self {
            run: state.join("run"),
            boot: state.join("boot"),
            images: state.join("images"),
            scratch: state.join("scratch"),
            uploads: state.join("uploads"),
        }
    }

    /// Makes the directories that are not there, for root alone.
    pub(super) fn make(&self) -> anyhow::Result<()> {
        for path in [&self.run, &self.boot, &self.images, &self.scratch, &self.uploads] {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .with_context(|| format!("directory {} could not be made", path.display()))?;
        }
        Ok(())
    }

    /// Removes what an earlier server left half-done, and what belongs to nobody: uploads, disks' templates. With the lock held.
    pub(super) fn sweep(&self) -> anyhow::Result<()> {
        // At a first start the preparation, which runs beside this, may not have come to it yet.
        self.make()?;
        scratch::tidy(&self.scratch)?;
        empty(&self.uploads).with_context(|| format!("{} could not be emptied", self.uploads.display()))
    }
}

/// Removes what is in a directory.
fn empty(dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.symlink_metadata()?.is_dir() {
            std::fs::remove_dir_all(path)?;
        } else {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Opens the state. `taking_over`: the server before is just going, so its locks are waited for; so are those of one that
/// was killed, which a child that it was just starting has for a moment longer.
pub(super) async fn store(config: &Config, taking_over: bool) -> anyhow::Result<Store> {
    let open = || Store::open(&config.state_dir);
    let going =
        |error: &StoreError| matches!(error, StoreError::Locked { ended, .. } if *ended || taking_over);
    Ok(unlocked(LOCKED_PATIENCE, open, going).await?)
}

/// Calls `open` until it is not refused for a lock whose holder is going, at most for so long.
async fn unlocked<T, E>(
    patience: Duration,
    mut open: impl FnMut() -> Result<T, E>,
    going: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let until = Instant::now() + patience;
    loop {
        match open() {
            Err(error) if going(&error) && Instant::now() < until => tokio::time::sleep(LOCKED_PAUSE).await,
            other => return other,
        }
    }
}

/// Where images are asked for before their registries, and what of it has no TLS. This host's cache of registries comes after the
/// mirrors that somebody has named.
fn mirrors(config: &Config) -> (BTreeMap<String, Vec<String>>, Vec<String>) {
    let own = &config.images;
    let (mut mirrors, mut insecure) = (own.mirrors.clone(), own.insecure_registries.clone());
    for mirror in crate::registry_cache::of(config).iter().flat_map(Cache::mirrors) {
        mirrors.entry(mirror.registry.clone()).or_default().push(mirror.location());
        insecure.push(mirror.host);
    }
    (mirrors, insecure)
}

/// Opens the image store. The state's lock is ours, so whoever has this one is going.
pub(super) async fn images(config: &Config, dirs: &StateDirs) -> anyhow::Result<Images> {
    let own = &config.images;
    let mib = |value: u64| value.saturating_mul(1 << 20);
    let (mirrors, insecure_registries) = mirrors(config);
    let settings = ImagesConfig {
        max_bytes: own.max_size_mib.map(mib),
        limits: Limits {
            layers: own.limits.max_layers as usize,
            entries: own.limits.max_entries,
            compressed_bytes: mib(own.limits.max_compressed_mib),
            uncompressed_bytes: mib(own.limits.max_unpacked_mib),
            ..Limits::default()
        },
        local: LocalSources::Only {
            images: config.pools.iter().map(|pool| pool.runner.image.clone()).collect(),
            dirs: own.local_dirs.iter().map(|dir| dir.to_path_buf()).collect(),
        },
        insecure_registries,
        mirrors,
        ca_pem: super::forges::ca_pem(own.ca_file.as_ref(), "images")?,
        docker_config: own.docker_config.as_ref().map(|path| path.to_path_buf()),
        // The one before the machines'.
        converter_uid: config.vmm.uid_base - 1,
        ..ImagesConfig::default()
    };
    let open = || Images::open(&dirs.images, settings.clone());
    Ok(unlocked(LOCKED_PATIENCE, open, |error| matches!(error, ImageError::Locked(_))).await?)
}

pub(super) async fn network(config: &Config) -> anyhow::Result<Network> {
    let own = &config.network;
    let settings = NetConfig {
        bridge: own.bridge.clone(),
        subnet: own.subnet,
        nat: own.nat,
        dns: own.dns.clone(),
        ipv6: own.ipv6.as_ref().map(|ipv6| Ipv6Config { subnet: ipv6.subnet, nat: ipv6.nat }),
        mtu: own.mtu,
        guest_ports: guest_ports(config),
    };
    Network::ensure(settings).await.context("the machines' network could not be set up")
}

/// What of the gateway every guest reaches: the caches.
fn guest_ports(config: &Config) -> BTreeSet<u16> {
    let mut ports = crate::registry_cache::of(config).map(|cache| cache.ports()).unwrap_or_default();
    ports.extend(Some(config.actions_cache.port).filter(|_| config.actions_cache.enabled));
    ports
}

/// What no other server in this network namespace may have: the bridge, by which taps and rules are found, so that a second
/// server would take the first one's machines for strays; and the user ids of the machines, which would reach into each other.
pub(super) fn claims(config: &Config) -> [Name; 2] {
    [format!("{BRIDGE_CLAIM}{}", config.network.bridge), format!("{UIDS_CLAIM}{}", config.vmm.uid_base)]
        .map(|at| Name::new(Role::Claim, at))
}

const BRIDGE_CLAIM: &str = "fireactions/bridge/";
const UIDS_CLAIM: &str = "fireactions/uids/";

/// Makes a claim: a name in the network namespace's own list of abstract sockets, which the kernel frees when the process
/// ends, however it ends.
pub(super) async fn claim(name: &Name) -> anyhow::Result<UnixListener> {
    let address = SocketAddr::from_abstract_name(&name.at)?;
    // A child that a killed server was just starting has its claim for a moment longer, as it has its locks.
    let bind = || UnixListener::bind_addr(&address);
    let taken = |error: &std::io::Error| error.kind() == std::io::ErrorKind::AddrInUse;
    unlocked(CLAIMED_PATIENCE, bind, taken).await.with_context(|| match name.at.strip_prefix(BRIDGE_CLAIM) {
        Some(bridge) => format!(
            "another fireactions server has the bridge '{bridge}'; stop it, or give this one a network.bridge and a \
             network.subnet of its own"
        ),
        None => "another fireactions server runs its machines with the same user ids; stop it, or give this one a \
                 vmm.uid_base of its own"
            .to_owned(),
    })
}

pub(super) fn forge_settings(config: &Config) -> LocalConfig {
    LocalConfig {
        retry: config.local.retry(),
        keep: config.local.keep.0,
        keep_jobs: config.local.keep_jobs,
        ..LocalConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_asked_for_at_the_hosts_cache_after_the_mirrors_that_are_named() {
        let text = "network: {subnet: 10.9.0.0/24}\nimages: {mirrors: {docker.io: [mirror.example]}}\n\
                    registry_cache: {enabled: true, program: docker-registry, mirrors: {docker.io: {}, ghcr.io: {}}}\n";
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.yaml");
        std::fs::write(&file, text).unwrap();
        let config =
            fireactions_config::load_for(&file, &fireactions_config::Host::unknown()).unwrap().config;
        let (mirrors, insecure) = mirrors(&config);
        let hub = &mirrors["docker.io"];
        assert_eq!((hub.len(), hub[0].as_str()), (2, "mirror.example"));
        assert!(hub[1].starts_with("10.9.0.1:") && mirrors["ghcr.io"].len() == 1, "{mirrors:?}");
        assert_eq!(
            insecure,
            [hub[1].clone(), mirrors["ghcr.io"][0].clone()],
            "by HTTP, and never another host"
        );
    }
}
