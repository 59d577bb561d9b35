//! Kernel settings below /proc/sys/net, of the network namespace of the calling thread.

use std::{fs, io};

use crate::NetError;

/// Makes the host route IPv4, and the bridge answer ARP for its own address only and believe no redirects. That it sends
/// none, which would tell guests to talk to each other directly, is not for a setting of the bridge's to say: the
/// kernel sends them if the host's setting for all links or that one is on. The rules see to it: nothing that a guest
/// sends to the guests' network is routed.
pub(crate) fn bridge(name: &str) -> Result<(), NetError> {
    set("net/ipv4/ip_forward", "1")?;
    set(&format!("net/ipv4/conf/{name}/accept_redirects"), "0")?;
    set(&format!("net/ipv4/conf/{name}/arp_ignore"), "1")?;
    no_ipv6(name)
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
