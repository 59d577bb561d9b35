//! Becoming one machine: randomness, clock, root, names, network.

use std::fmt::Write as _;
use std::path::Path;

use fireactions_guest_proto::Identity;

use crate::replace::replace;
use crate::{clock, network, renew};

/// What of the image has run before the machine had an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    /// Nothing.
    Nothing,
    /// Its own init, which has read `/etc/machine-id` long before: that file is left alone.
    Init,
    /// Its own init, in the machine of which this one is a clone: what that has read was the other's.
    FrozenInit,
}

/// Applies all of it. Randomness and clock go first: everything later may use them, and a clone of a frozen machine
/// has the same as its sisters until then. `enter_root` goes next, for the files that follow belong there.
pub(crate) fn apply(
    identity: &Identity,
    before: Before,
    enter_root: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    check(identity)?;
    crate::entropy::add(&identity.entropy)
        .map_err(|error| format!("cannot add the host's entropy: {error}"))?;
    clock::set(identity.unix_nanos).map_err(|error| format!("cannot set the clock: {error}"))?;
    enter_root()?;
    rustix::system::sethostname(identity.hostname.as_bytes())
        .map_err(|error| format!("cannot set the hostname '{}': {error}", identity.hostname))?;

    let files = [
        ("/etc/hostname", format!("{}\n", identity.hostname)),
        ("/etc/hosts", hosts(identity)),
        ("/etc/resolv.conf", resolv_conf(identity)),
    ];
    for (path, text) in files {
        replace(Path::new(path), &text).map_err(|error| format!("cannot write {path}: {error}"))?;
    }
    if before != Before::Init {
        renew::machine_id(&identity.machine_id)
            .map_err(|error| format!("cannot write /etc/machine-id: {error}"))?;
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
            ipv6: None,
            services: Vec::new(),
            drop_ins: Vec::new(),
            sticky: Vec::new(),
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
}
