//! Kernel settings below /proc/sys/net, of the network namespace of the calling thread.

use std::{fs, io};

use crate::NetError;

/// Makes the host route IPv4, and the bridge answer ARP for its own address only and believe no redirects. That it sends
/// none, which would tell guests to talk to each other directly, is not for a setting of the bridge's to say: the
/// kernel sends them if the host's setting for all links or that one is on. The rules see to it: nothing that a guest
/// sends to the guests' network is routed. With IPv6, the same of that.
pub(crate) fn bridge(name: &str, with_ipv6: bool) -> Result<(), NetError> {
    set("net/ipv4/ip_forward", "1")?;
    set(&format!("net/ipv4/conf/{name}/accept_redirects"), "0")?;
    set(&format!("net/ipv4/conf/{name}/arp_ignore"), "1")?;
    if with_ipv6 { ipv6(name) } else { no_ipv6(name) }
}

/// IPv6 on the bridge, with the link-local address that follows from its MAC, and routed.
fn ipv6(name: &str) -> Result<(), NetError> {
    // A host that routes believes its own router no more, unless it is told to.
    for entry in fs::read_dir("/proc/sys/net/ipv6/conf").into_iter().flatten().flatten() {
        let link = entry.file_name().to_string_lossy().into_owned();
        let path = format!("net/ipv6/conf/{link}/accept_ra");
        let believes = fs::read_to_string(format!("/proc/sys/{path}")).is_ok_and(|now| now.trim() == "1");
        if believes && link != name {
            set(&path, "2")?;
        }
    }
    set("net/ipv6/conf/all/forwarding", "1")?;
    for (key, value) in
        [("accept_ra", "0"), ("accept_redirects", "0"), ("accept_dad", "0"), ("addr_gen_mode", "0")]
    {
        set(&format!("net/ipv6/conf/{name}/{key}"), value)?;
    }
    set(&format!("net/ipv6/conf/{name}/disable_ipv6"), "0")
}

/// Turns IPv6 off on a link, so that it has no link-local address either. A kernel without IPv6 is as good.
pub(crate) fn no_ipv6(link: &str) -> Result<(), NetError> {
    match set(&format!("net/ipv6/conf/{link}/disable_ipv6"), "1") {
        Err(NetError::Sysctl { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Writes only what differs: ensure() must work where /proc/sys is read-only and already right (containers).
fn set(path: &str, value: &'static str) -> Result<(), NetError> {
    let file = format!("/proc/sys/{path}");
    if fs::read_to_string(&file).is_ok_and(|now| now.trim() == value) {
        return Ok(());
    }
    fs::write(&file, value).map_err(|source| NetError::Sysctl { path: path.into(), value, source })
}
