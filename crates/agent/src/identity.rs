//! Becoming one machine: randomness, clock, root, names, network.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use fireactions_guest_proto::Identity;

use crate::{clock, network};

/// Applies all of it. Randomness and clock go first: everything later may use them, and a clone of a frozen machine
/// has the same as its sisters until then. `enter_root` goes next, for the files that follow belong there.
///
/// `own_init`: an image's init runs. It has read `/etc/machine-id` long before; that file is left alone then.
pub(crate) fn apply(
    identity: &Identity,
    own_init: bool,
    enter_root: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    check(identity)?;
    crate::entropy::add(&identity.entropy)
        .map_err(|error| format!("cannot add the host's entropy: {error}"))?;
    clock::set(identity.unix_nanos).map_err(|error| format!("cannot set the clock: {error}"))?;
    enter_root()?;
    rustix::system::sethostname(identity.hostname.as_bytes())
        .map_err(|error| format!("cannot set the hostname '{}': {error}", identity.hostname))?;

    let mut files = vec![
        ("/etc/hostname", format!("{}\n", identity.hostname)),
        ("/etc/hosts", hosts(identity)),
        ("/etc/resolv.conf", resolv_conf(identity)),
    ];
    if !own_init {
        files.push(("/etc/machine-id", format!("{}\n", identity.machine_id)));
    }
    for (path, text) in files {
        replace(Path::new(path), &text).map_err(|error| format!("cannot write {path}: {error}"))?;
    }
    network::configure(identity)
}

/// A machine id of this boot only, for an init that starts before the host has spoken. An id that is baked into the
/// image would be shared by all its machines.
pub(crate) fn fresh_machine_id() {
    // The kernel's boot id is random and of the right length.
    let Ok(text) = std::fs::read_to_string("/proc/sys/kernel/random/boot_id") else { return };
    let id: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    if let Err(error) = replace(Path::new("/etc/machine-id"), &format!("{id}\n")) {
        crate::console::say(format_args!("cannot write /etc/machine-id: {error}"));
    }
}

/// What would end up as broken text in files that programs parse.
fn check(identity: &Identity) -> Result<(), String> {
    let name = identity.hostname.as_bytes();
    if name.is_empty()
        || name.len() > 64
        || !name.iter().all(|b| b.is_ascii_alphanumeric() || b".-".contains(b))
    {
        return Err("the hostname is not 1 to 64 of A-Z a-z 0-9 . -".to_owned());
    }
    if identity.machine_id.len() != 32 || !identity.machine_id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("the machine id is not 32 hexadecimal digits".to_owned());
    }
    if identity.mac.is_some_and(|mac| mac[0] & 1 != 0 || mac == [0; 6]) {
        return Err("the MAC address is a group's or all zeros".to_owned());
    }
    let mut words = identity.dns_search.iter().chain(&identity.dns_options);
    if words.any(|word| !word.bytes().all(|b| b.is_ascii_graphic())) {
        return Err("the resolver's domains or options have something other than printable ASCII".to_owned());
    }
    if identity.prefix > 32 {
        return Err(format!("the network prefix {} is longer than 32", identity.prefix));
    }
    Ok(())
}

fn hosts(identity: &Identity) -> String {
    let mut text = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned();
    let own = if identity.address.is_unspecified() { [127, 0, 1, 1].into() } else { identity.address };
    let _ = writeln!(text, "{own} {}", identity.hostname);
    text
}

fn resolv_conf(identity: &Identity) -> String {
    let mut text = String::new();
    for server in &identity.dns {
        let _ = writeln!(text, "nameserver {server}");
    }
    for (name, words) in [("search", &identity.dns_search), ("options", &identity.dns_options)] {
        if !words.is_empty() {
            let _ = writeln!(text, "{name} {}", words.join(" "));
        }
    }
    text
}

/// Puts a whole new file in the place of whatever is there. Not through it: `/etc/resolv.conf` is often a link to
/// a place that does not exist yet.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let new = path.with_extension("fireactions-new");
    // Never through a link that somebody left here.
    remove(&new)?;
    std::fs::write(&new, text)?;
    // A bind mount of a file that was not there leaves a directory behind in an image that is made of such a container.
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
        remove(path)?;
    }
    std::fs::rename(&new, path)
}

/// Removes whatever is there.
fn remove(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            hostname: "m1".to_owned(),
            address: [172, 30, 0, 2].into(),
            prefix: 22,
            gateway: [172, 30, 0, 1].into(),
            dns: vec![[1, 1, 1, 1].into(), "fd00::1".parse().unwrap()],
            machine_id: "0123456789abcdef0123456789abcdef".to_owned(),
            entropy: vec![0; 64],
            unix_nanos: 0,
            dns_search: Vec::new(),
            dns_options: Vec::new(),
            mtu: None,
            mac: None,
            services: Vec::new(),
        }
    }

    #[test]
    fn files_are_what_resolvers_read() {
        assert_eq!(resolv_conf(&identity()), "nameserver 1.1.1.1\nnameserver fd00::1\n");
        let more = Identity {
            dns_search: vec!["corp.example.com".to_owned(), "example.com".to_owned()],
            dns_options: vec!["timeout:1".to_owned()],
            dns: vec![],
            ..identity()
        };
        assert_eq!(resolv_conf(&more), "search corp.example.com example.com\noptions timeout:1\n");
        assert!(hosts(&identity()).ends_with("\n172.30.0.2 m1\n"));
    }

    #[test]
    fn nothing_that_breaks_a_file_is_written() {
        let mut bad = identity();
        bad.hostname = "a\n1.2.3.4 b".to_owned();
        assert!(check(&bad).is_err());
        let mut bad = identity();
        bad.machine_id.push('0');
        assert!(check(&bad).is_err());
        let mut bad = identity();
        bad.dns_search.push("a\nnameserver 10.0.0.1".to_owned());
        assert!(check(&bad).is_err());
        assert!(check(&identity()).is_ok());
    }

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("etc/resolv.conf");
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("/nowhere/at/all", &path).unwrap();
        replace(&path, "x\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "x\n");
        assert!(std::fs::symlink_metadata(&path).unwrap().is_file());
    }

    #[test]
    fn a_directory_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        std::fs::create_dir_all(path.join("left/over")).unwrap();
        std::fs::create_dir_all(dir.path().join("hosts.fireactions-new/odd")).unwrap();
        replace(&path, "x\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "x\n");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
