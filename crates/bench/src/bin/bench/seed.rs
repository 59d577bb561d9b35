//! The scratch disk of the cold starts, with what cloud-init needs to know already on it.
//!
//! The seed is where cloud-init looks for it without any device (`/var/lib/cloud/seed/nocloud`, its documentation
//! of the data source NoCloud): on a drive of its own it would need file-system modules that the root has not, and
//! cost systemd's side more time. The agent's side boots with the same disk.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use fireactions_net::{Network, Port};

/// What the job prints first.
pub(crate) const FIRST_LINE: &str = "bench: first line of the job";
/// What cloud-init prints at the earliest point at which it can run a command.
pub(crate) const BOOT_LINE: &str = "bench: bootcmd";

/// Makes `disk` with the same options as any machine's.
pub(crate) fn disk(disk: &Path, port: &Port, network: &Network) -> anyhow::Result<()> {
    let tree = disk.with_extension("tree");
    // The scratch disk's `upper` lies over the image.
    let seed = tree.join("upper/var/lib/cloud/seed/nocloud");
    let settings = tree.join("upper/etc/cloud/cloud.cfg.d");
    fs::create_dir_all(&seed)?;
    fs::create_dir_all(&settings)?;
    // No looking for other clouds: in its favour.
    fs::write(settings.join("99-bench.cfg"), "datasource_list: [NoCloud]\n")?;
    fs::write(seed.join("meta-data"), format!("instance-id: {0}\nlocal-hostname: {0}\n", port.machine))?;
    fs::write(
        seed.join("user-data"),
        format!(
            "#cloud-config\n\
             bootcmd: [\"echo '{BOOT_LINE}' >/dev/ttyS0\"]\n\
             runcmd: [\"echo '{FIRST_LINE}' >/dev/ttyS0\"]\n"
        ),
    )?;
    let mac: Vec<String> = port.mac.iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(
        seed.join("network-config"),
        format!(
            "version: 2\nethernets:\n  nic:\n    match: {{macaddress: '{}'}}\n    addresses: ['{}/{}']\n    \
             routes: [{{to: 'default', via: '{}'}}]\n",
            mac.join(":"),
            port.address,
            network.prefix(),
            network.gateway(),
        ),
    )?;
    let output = Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-O", "^has_journal,^resize_inode", "-m", "0", "-i", "65536"])
        .args(["-E", "lazy_itable_init=0", "-L", "scratch", "-d"])
        .args([&tree, disk])
        .arg("2G")
        .output()
        .context("mke2fs; run `make setup`")?;
    ensure!(output.status.success(), "mke2fs: {}", String::from_utf8_lossy(&output.stderr).trim());
    fs::remove_dir_all(&tree)?;
    Ok(())
}
