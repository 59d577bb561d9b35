//! A clone whose PID 1 is the image's own init: what programs of the image have kept of the machine that was frozen is
//! replaced or removed. Names, addresses and randomness are `identity.rs`'s, as in every machine.
//!
//! What stays, for nobody can change it while programs run: the kernel's boot id, what a program has in its own memory, and
//! what a program of the image makes for itself when it first starts (Docker's engine id, say).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::answer::answer;
use crate::hang_up::hang_up;
use crate::reaper::Reaper;
use crate::replace::replace;

/// What was leased to the machine that was frozen: whole directories of networkd, dhclient, dhcpcd, NetworkManager.
const LEASES: [&str; 4] =
    ["/run/systemd/netif/leases", "/var/lib/dhcp", "/var/lib/dhcpcd", "/var/lib/NetworkManager"];
/// Where journald keeps a machine's log, in a directory that has the machine's id as its name.
const JOURNALS: [&str; 2] = ["/run/log/journal", "/var/log/journal"];
const MACHINE_ID: &str = "/etc/machine-id";
/// dbus' own, where it is not a link to the other.
const DBUS_ID: &str = "/var/lib/dbus/machine-id";
/// What the next boot would begin with, which there is not.
const SEED: &str = "/var/lib/systemd/random-seed";
const SSH: &str = "/etc/ssh";

/// Gives the machine another machine id than the frozen one's, and its journal with it. Before anything else reads it.
pub(crate) fn machine_id(new: &str) -> io::Result<()> {
    let old = fs::read_to_string(MACHINE_ID).unwrap_or_default();
    let old = old.trim();
    replace(Path::new(MACHINE_ID), &format!("{new}\n"))?;
    if fs::symlink_metadata(DBUS_ID).is_ok_and(|found| found.is_file()) {
        replace(Path::new(DBUS_ID), &format!("{new}\n"))?;
    }
    // The name comes from a file of the guest's.
    if old.len() == 32 && old.bytes().all(|b| b.is_ascii_hexdigit()) {
        for journal in JOURNALS.map(Path::new) {
            let _ = fs::rename(journal.join(old), journal.join(new));
        }
    }
    Ok(())
}

/// The rest. Returns what could not be done, for people; the machine is of use all the same.
pub(crate) fn rest(reaper: &Reaper, image_keys: &[String]) -> Vec<String> {
    let mut failed = Vec::new();
    for directory in LEASES {
        for path in entries(Path::new(directory)) {
            if is_lease(&path) {
                let _ = fs::remove_file(path);
            }
        }
    }
    let _ = fs::remove_file(SEED);
    if Path::new("/run/systemd/system").is_dir() {
        // It knows the machine id from its start.
        failed.extend(
            answer(reaper, &["systemctl", "--no-block", "restart", "systemd-journald.service"]).err(),
        );
    }
    let mut keys = host_keys();
    keys.retain(|name| !image_keys.contains(name));
    for name in &keys {
        if let Err(why) = renew_key(reaper, name) {
            failed.push(format!("the SSH host key {name} is removed, for there is no new one: {why}"));
        }
    }
    if !keys.is_empty() {
        // sshd reads its keys again at this signal, sshd(8).
        hang_up(Path::new("/run/sshd.pid"), "sshd");
    }
    failed
}

/// Names of the SSH host keys that are there now.
pub(crate) fn host_keys() -> Vec<String> {
    let mut names: Vec<String> =
        entries(Path::new(SSH)).into_iter().filter_map(|path| key_name(&path).map(str::to_owned)).collect();
    names.sort();
    names
}

/// The kind of key that a private host key's file name names.
fn kind(name: &str) -> Option<&str> {
    let kind = name.strip_prefix("ssh_host_")?.strip_suffix("_key")?;
    (!kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric())).then_some(kind)
}

fn key_name(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    kind(name).map(|_| name)
}

/// Another key in the place of one. The frozen machine's goes in any case.
fn renew_key(reaper: &Reaper, name: &str) -> Result<(), String> {
    let path = Path::new(SSH).join(name);
    let (Some(kind), Some(file)) = (kind(name), path.to_str()) else { return Ok(()) };
    for path in [path.clone(), path.with_extension("pub")] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(format!("cannot remove {}: {error}", path.display()));
            }
            _ => {}
        }
    }
    answer(reaper, &["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", file])?;
    if path.exists() { Ok(()) } else { Err("ssh-keygen made none".to_owned()) }
}

fn is_lease(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let in_networkd = path.parent().is_some_and(|dir| dir.ends_with("netif/leases"));
    in_networkd || name.contains("lease")
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_host_keys_are_known_by_their_names() {
        let name = |path: &str| key_name(Path::new(path)).map(str::to_owned);
        assert_eq!(name("/etc/ssh/ssh_host_ed25519_key").as_deref(), Some("ssh_host_ed25519_key"));
        assert_eq!(kind("ssh_host_rsa_key"), Some("rsa"));
        for other in ["ssh_host_rsa_key.pub", "sshd_config", "ssh_host__key", "ssh_host_a-b_key", "moduli"] {
            assert_eq!(name(&format!("/etc/ssh/{other}")), None, "{other}");
        }
    }

    #[test]
    fn leases_are_known_by_their_names_or_places() {
        for (path, yes) in [
            ("/run/systemd/netif/leases/2", true),
            ("/var/lib/dhcp/dhclient.eth0.leases", true),
            ("/var/lib/NetworkManager/internal-x-eth0.lease", true),
            ("/var/lib/NetworkManager/secret_key", false),
            ("/var/lib/dhcpcd/duid", false),
        ] {
            assert_eq!(is_lease(Path::new(path)), yes, "{path}");
        }
    }
}
