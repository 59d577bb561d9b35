//! From the configuration to the parts.

use std::collections::BTreeMap;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use fireactions_config::{Accel as AccelSetting, Config, Driver};
use fireactions_image::{Images, ImagesConfig, Limits};
use fireactions_machine::Settings;
use fireactions_model::PoolSpec;
use fireactions_net::{NetConfig, Network};
use fireactions_vmm::accel::{self, Accel, Choice};
use fireactions_vmm::qemu::{Qemu, QemuConfig};
use fireactions_vmm::{Vmm, boot};

const QEMU_VERSION_DEADLINE: Duration = Duration::from_secs(10);

/// The state directory's own places.
pub(super) struct Places {
    pub(super) state: PathBuf,
    pub(super) run: PathBuf,
    pub(super) boot: PathBuf,
    pub(super) images: PathBuf,
    pub(super) scratch: PathBuf,
    pub(super) uploads: PathBuf,
}

impl Places {
    /// Makes the directories that are not there, for root alone.
    pub(super) fn make(state: &Path) -> anyhow::Result<Self> {
        let places = Self {
            state: state.to_path_buf(),
            run: state.join("run"),
            boot: state.join("boot"),
            images: state.join("images"),
            scratch: state.join("scratch"),
            uploads: state.join("uploads"),
        };
        // Half-received uploads of an earlier server belong to nobody.
        match std::fs::remove_dir_all(&places.uploads) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(e).with_context(|| format!("{} could not be emptied", places.uploads.display()));
            }
            _ => {}
        }
        for path in [&places.run, &places.boot, &places.images, &places.scratch, &places.uploads] {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .with_context(|| format!("directory {} could not be made", path.display()))?;
        }
        Ok(places)
    }
}

pub(super) fn images(config: &Config, places: &Places) -> anyhow::Result<Images> {
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
    Ok(Images::open(&places.images, settings)?)
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

/// The guest kernel of pools that name none, its modules, and the agent: all there, or a clear error now rather
/// than at the first machine.
pub(super) fn settings(config: &Config, places: &Places, network: &Network) -> anyhow::Result<Settings> {
    let executable = std::env::current_exe().context("the server's own executable could not be found")?;
    let agent = config.agent_beside(&executable);
    if !agent.is_file() {
        bail!(
            "the guest agent {} is not there; build it with `make agent`, or set agent_path in the configuration",
            agent.display()
        );
    }
    let kernel = config.kernel.image.as_ref().map(|path| path.to_path_buf());
    let pools: BTreeMap<_, PoolSpec> =
        config.pools().into_iter().map(|pool| (pool.name.clone(), pool)).collect();
    if kernel.is_none()
        && let Some(pool) = pools.values().find(|pool| pool.kernel.image.is_none())
    {
        bail!(
            "there is no guest kernel for pool '{}': set kernel.image, or firecracker.kernel_image_path in the pool \
             (`scripts/fetch-kernel DIR` fetches Debian's cloud kernel)",
            pool.name
        );
    }
    Ok(Settings {
        run_dir: places.run.clone(),
        boot_dir: places.boot.clone(),
        scratch_dir: places.scratch.clone(),
        kernel: kernel.unwrap_or_default(),
        modules: config.kernel.modules.as_ref().map(|path| path.to_path_buf()),
        agent,
        uid_base: config.vmm.uid_base,
        dns: network.dns().to_vec(),
        pools,
        console_max: u64::from(config.vmm.console_max_kib) * 1024,
        artifact_max: 4 << 30,
    })
}

/// The driver, with the accelerator that this host can really use.
pub(super) async fn vmm(config: &Config, settings: &Settings) -> anyhow::Result<(Arc<dyn Vmm>, Choice)> {
    if config.vmm.driver == Driver::Firecracker {
        bail!("vmm.driver 'firecracker' is not there yet; use 'qemu'");
    }
    let want = match config.vmm.accel {
        AccelSetting::Auto => Accel::Auto,
        AccelSetting::Kvm => Accel::Kvm,
        AccelSetting::Tcg => Accel::Tcg,
    };
    let (kernel, modules) = match settings
        .pools
        .values()
        .find_map(|pool| pool.kernel.image.as_deref().map(|k| (k, pool.kernel.modules.as_deref())))
    {
        _ if !settings.kernel.as_os_str().is_empty() => {
            (settings.kernel.as_path(), settings.modules.as_deref())
        }
        Some(pool) => pool,
        None => {
            return Err(anyhow!("no pool is configured, so there is nothing to run; add one under `pools:`"));
        }
    };
    let boot = boot::prepare(&settings.boot_dir, kernel, modules, &settings.agent)
        .await
        .context("the guest's boot files could not be made")?;
    let binary = config.vmm.qemu_binary.as_path().to_path_buf();
    must_run(&binary).await?;
    if want == Accel::Kvm {
        std::fs::File::options().read(true).write(true).open("/dev/kvm").context(
            "vmm.accel is 'kvm' and /dev/kvm cannot be opened; load the kvm module, or use 'auto' or 'tcg'",
        )?;
    }
    let choice = accel::choose(want, &binary, &boot, &settings.boot_dir).await;
    let qemu = Qemu::new(QemuConfig {
        binary,
        cgroup_parent: Some(config.vmm.cgroup_parent.clone()),
        ..QemuConfig::new(choice.clone())
    });
    Ok((Arc::new(qemu), choice))
}

/// A server without its VMM would take jobs and lose them: that is said at the start.
async fn must_run(qemu: &Path) -> anyhow::Result<()> {
    let asked = tokio::process::Command::new(qemu).arg("--version").output();
    let output = tokio::time::timeout(QEMU_VERSION_DEADLINE, asked)
        .await
        .map_err(|_| anyhow!("'{} --version' gave no answer in {QEMU_VERSION_DEADLINE:?}", qemu.display()))?
        .with_context(|| {
            let qemu = qemu.display();
            format!("'{qemu}' cannot be run; install it (Debian: qemu-system-x86) or set vmm.qemu_binary")
        })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("'{} --version' failed: {}", qemu.display(), said.trim());
    }
    Ok(())
}

/// Claims this network namespace. Taps and rules are found by their names, so a second server in the namespace
/// would take the first one's machines for strays. The claim is a name in the namespace's own list of abstract
/// sockets, which the kernel frees when the process ends, however it ends.
pub(super) fn claim_namespace() -> anyhow::Result<UnixListener> {
    let name = SocketAddr::from_abstract_name("fireactions/network-namespace")?;
    UnixListener::bind_addr(&name).context(
        "another fireactions server runs in this network namespace; stop it, or start this one in a namespace of \
         its own (`unshare --net`)",
    )
}
