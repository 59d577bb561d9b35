//! From the configuration to the parts.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use fireactions_config::Config;
use fireactions_forge::local::LocalConfig;
use fireactions_image::{ImageError, Images, ImagesConfig, Limits};
use fireactions_net::{NetConfig, Network};
use fireactions_store::{Store, StoreError};
use tokio::time::Instant;

use super::sockets::{Name, Role};

/// An earlier server that is going holds its locks until the end of its process.
const LOCKED_PATIENCE: Duration = Duration::from_secs(10);
const LOCKED_PAUSE: Duration = Duration::from_millis(20);

/// The state directory's own places.
pub(super) struct Places {
    pub(super) run: PathBuf,
    pub(super) boot: PathBuf,
    pub(super) images: PathBuf,
    pub(super) scratch: PathBuf,
    pub(super) uploads: PathBuf,
}

impl Places {
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

    /// Removes half-received uploads of an earlier server: they belong to nobody. With the lock held.
    pub(super) fn sweep(&self) -> anyhow::Result<()> {
        match std::fs::remove_dir_all(&self.uploads) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(e).with_context(|| format!("{} could not be emptied", self.uploads.display()));
            }
            _ => {}
        }
        self.make()
    }
}

/// Opens the state. `taking_over`: the server before is just going, so its locks are waited for.
pub(super) async fn store(config: &Config, taking_over: bool) -> anyhow::Result<Store> {
    let open = || Store::open(&config.state_dir);
    let locked = |error: &StoreError| matches!(error, StoreError::Locked { .. });
    Ok(unlocked(taking_over, open, locked).await?)
}

/// Calls `open` until it is not refused for a lock, at most for ten seconds.
async fn unlocked<T, E>(
    taking_over: bool,
    mut open: impl FnMut() -> Result<T, E>,
    locked: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let until = Instant::now() + if taking_over { LOCKED_PATIENCE } else { Duration::ZERO };
    loop {
        match open() {
            Err(error) if locked(&error) && Instant::now() < until => tokio::time::sleep(LOCKED_PAUSE).await,
            other => return other,
        }
    }
}

/// Opens the image store, waiting for its lock as [`store`] does.
pub(super) async fn images(config: &Config, places: &Places, taking_over: bool) -> anyhow::Result<Images> {
    let own = &config.images;
    let mib = |value: u64| value.saturating_mul(1 << 20);
    let settings = ImagesConfig {
        max_bytes: own.max_size_mib.map(mib),
        limits: Limits {
            layers: own.limits.max_layers as usize,
            entries: own.limits.max_entries,
            compressed_bytes: mib(own.limits.max_compressed_mib),
            uncompressed_bytes: mib(own.limits.max_unpacked_mib),
            ..Limits::default()
        },
        insecure_registries: own.insecure_registries.clone(),
        docker_config: own.docker_config.as_ref().map(|path| path.to_path_buf()),
        ..ImagesConfig::default()
    };
    let open = || Images::open(&places.images, settings.clone());
    Ok(unlocked(taking_over, open, |error| matches!(error, ImageError::Locked(_))).await?)
}

pub(super) async fn network(config: &Config) -> anyhow::Result<Network> {
    let own = &config.network;
    let settings = NetConfig {
        bridge: own.bridge.clone(),
        subnet: own.subnet,
        nat: own.nat,
        dns: own.dns.clone(),
        ..NetConfig::default()
    };
    Network::ensure(settings).await.context("the machines' network could not be set up")
}

/// Claims this network namespace. Taps and rules are found by their names, so a second server in the namespace
/// would take the first one's machines for strays. The claim is a name in the namespace's own list of abstract
/// sockets, which the kernel frees when the process ends, however it ends.
pub(super) fn claim_namespace() -> anyhow::Result<(Name, UnixListener)> {
    const NAME: &str = "fireactions/network-namespace";
    let claim = UnixListener::bind_addr(&SocketAddr::from_abstract_name(NAME)?).context(
        "another fireactions server runs in this network namespace; stop it, or start this one in a namespace of \
         its own (`unshare --net`)",
    )?;
    Ok((Name::new(Role::Namespace, NAME), claim))
}

pub(super) fn forge_settings(config: &Config) -> LocalConfig {
    LocalConfig {
        retry: config.local.retry(),
        keep: config.local.keep.0,
        keep_jobs: config.local.keep_jobs,
        ..LocalConfig::default()
    }
}
