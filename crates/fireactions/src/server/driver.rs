//! The VMM that the configuration chooses: found, asked for its version, and tried as far as that goes.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use fireactions_config::{Accel as AccelSetting, Config, Driver};
use fireactions_machine::Settings;
use fireactions_vmm::accel::{self, Accel};
use fireactions_vmm::boot::{self, BootFiles};
use fireactions_vmm::firecracker::{Firecracker, FirecrackerConfig, unfit_for_jails};
use fireactions_vmm::qemu::{Qemu, QemuConfig};
use fireactions_vmm::{Ours, Vmm};

const VERSION_DEADLINE: Duration = Duration::from_secs(10);

/// A driver that works, as far as it can be known before a machine.
pub(super) struct Chosen {
    /// For all parts that are started with it.
    pub(super) vmm: Arc<dyn Vmm>,
    /// The VMM's version, in its own words.
    pub(super) version: String,
    /// The accelerator that this host can really use, and why.
    pub(super) accel: String,
}

/// Finds what the configuration chooses, and makes the boot files of its default kernel.
pub(super) async fn choose(config: &Config, settings: &Settings) -> anyhow::Result<Chosen> {
    match config.vmm.driver {
        Driver::Qemu => qemu(config, settings).await,
        Driver::Firecracker => firecracker(config, settings).await,
    }
}

async fn qemu(config: &Config, settings: &Settings) -> anyhow::Result<Chosen> {
    let binary = config.vmm.qemu_binary.as_path().to_path_buf();
    let want = match config.vmm.accel {
        AccelSetting::Auto => Accel::Auto,
        AccelSetting::Kvm => Accel::Kvm,
        AccelSetting::Tcg => Accel::Tcg,
    };
    let (version, accel) = tokio::try_join!(must_run(&binary), async {
        let boot = boot_files(settings).await?;
        if want == Accel::Kvm {
            std::fs::File::options().read(true).write(true).open("/dev/kvm").context(
                "vmm.accel is 'kvm' and /dev/kvm cannot be opened; load the kvm module, or use 'auto' or 'tcg'",
            )?;
        }
        Ok(accel::choose(want, &binary, &boot, &settings.boot_dir).await)
    })?;
    let why = accel.why.clone();
    let driver = Qemu::new(QemuConfig {
        binary,
        cgroup_parent: Some(config.vmm.cgroup_parent.clone()),
        version: version.clone(),
        apart: Some(ours(config, settings)),
        ..QemuConfig::new(accel)
    });
    Ok(Chosen { vmm: Arc::new(driver), version, accel: why })
}

async fn firecracker(config: &Config, settings: &Settings) -> anyhow::Result<Chosen> {
    let root = rustix::process::geteuid().is_root();
    let jailer = config.vmm.jailer && root;
    if config.vmm.jailer && !root {
        tracing::warn!(
            "the server is not root, so Firecracker runs without its jailer; see docs/security.md"
        );
    }
    if jailer
        && let Some(why) = unfit_for_jails(&settings.run_dir).with_context(|| {
            format!("the directory of the machines, {}, cannot be checked", settings.run_dir.display())
        })?
    {
        bail!(
            "{why}; mount it without these options, set state_dir to another one, or set 'vmm.jailer: false' \
             (docs/security.md says what that costs)"
        );
    }
    let own = FirecrackerConfig {
        binary: config.firecracker_binary().as_path().to_path_buf(),
        jailer: jailer.then(|| config.vmm.jailer_binary.as_path().to_path_buf()),
        cgroup_parent: Some(config.vmm.cgroup_parent.clone()),
        apart: root.then(|| ours(config, settings)),
    };
    let (driver, _) = tokio::try_join!(
        async {
            Firecracker::new(own).await.context(
                "vmm.driver is 'firecracker', but Firecracker cannot be used (vmm.firecracker_binary and vmm.jailer_binary \
                 name its programs; docs/firecracker.md says what to install)",
            )
        },
        boot_files(settings)
    )?;
    let accel = if jailer { "KVM, each machine in its own jail" } else { "KVM, without the jailer" };
    let version = driver.version().to_owned();
    tracing::info!(version, "Firecracker with {accel}");
    Ok(Chosen { vmm: Arc::new(driver), version, accel: accel.to_owned() })
}

/// A machine has its directory from before its process to after it; its tap on our bridge speaks for it even without.
fn ours(config: &Config, settings: &Settings) -> Ours {
    let (run_dir, bridge) = (settings.run_dir.clone(), config.network.bridge.clone());
    Ours::new(move |id| run_dir.join(id.as_str()).is_dir() || fireactions_net::has_tap(id, &bridge))
}

/// The kernel and initramfs of the first kernel that a machine may be started with.
async fn boot_files(settings: &Settings) -> anyhow::Result<BootFiles> {
    let of_pool = || {
        settings.pools.values().find_map(|p| Some((p.kernel.image.as_deref()?, p.kernel.modules.as_deref())))
    };
    let default = || Some((settings.kernel.as_deref()?, settings.modules.as_deref()));
    let (kernel, modules) = default().or_else(of_pool).ok_or_else(|| {
        anyhow!("no pool is configured, so there is nothing to run; add one under `pools:`")
    })?;
    boot::prepare(&settings.boot_dir, kernel, modules, &settings.agent)
        .await
        .context("the guest's boot files could not be made")
}

/// A server without its VMM would take jobs and lose them: that is said at the start. Gives QEMU's version.
async fn must_run(qemu: &Path) -> anyhow::Result<String> {
    let asked = tokio::process::Command::new(qemu)
        .arg("--version")
        .stdin(Stdio::null())
        .env("LC_ALL", "C")
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(VERSION_DEADLINE, asked)
        .await
        .map_err(|_| anyhow!("'{} --version' did not answer within {VERSION_DEADLINE:?}", qemu.display()))?
        .with_context(|| {
            let qemu = qemu.display();
            format!("'{qemu}' cannot be run; install it (Debian: qemu-system-x86) or set vmm.qemu_binary")
        })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("'{} --version' failed: {}", qemu.display(), said.trim());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(version_in(&said))
}

/// `QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)` without its first words. All that follows belongs to it: a
/// distribution may change a program and keep its number.
fn version_in(said: &str) -> String {
    let line = said.lines().next().unwrap_or_default().trim();
    let version = line.split_once(" version ").map_or(line, |(_, version)| version);
    version.chars().filter(|c| !c.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qemus_version_keeps_what_the_distribution_adds() {
        let said = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright (c) 2003-2022\n";
        assert_eq!(version_in(said), "7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)");
        assert_eq!(version_in("something else\u{1b}[31m\n"), "something else[31m");
        assert_eq!(version_in(""), "");
    }
}
