//! What can go wrong, said for people.

use std::io;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// Why the network could not be changed or read.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The configuration cannot work.
    #[error("network configuration: '{value}' is not a usable {what}: {rule}")]
    Config {
        /// Which setting.
        what: &'static str,
        /// Its value.
        value: String,
        /// The rule that it broke.
        rule: &'static str,
    },
    /// A port contradicts the network.
    #[error("machine {machine} cannot be attached: {reason}")]
    Port {
        /// The machine.
        machine: String,
        /// What does not fit.
        reason: String,
    },
    /// The kernel refused a change of a link or an address.
    #[error("cannot {action} '{name}': {reason}{}", hint(reason))]
    Link {
        /// What was tried, e.g. "create bridge".
        action: &'static str,
        /// On which link.
        name: String,
        /// The kernel's answer.
        reason: String,
    },
    /// A link of our name exists and is something else.
    #[error(
        "'{name}' exists and is not a {wanted}; rename it or choose another bridge name in the configuration"
    )]
    Taken {
        /// The link.
        name: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// A bridge of our name exists and was made by somebody else.
    #[error(
        "the bridge '{name}' was not made by fireactions: its MAC is {mac}, and ours begin with 02:fb; choose another \
         network.bridge in the configuration, or, if nothing needs it, remove it: ip link delete {name}"
    )]
    ForeignBridge {
        /// The bridge.
        name: String,
        /// Its MAC, in hexadecimal.
        mac: String,
    },
    /// A tap could not be made.
    #[error("cannot {action} tap '{tap}': {source}{}", hint(&source.to_string()))]
    Tap {
        /// What was tried.
        action: &'static str,
        /// Which tap.
        tap: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A kernel setting could not be written.
    #[error("cannot set {path} to {value}: {source}{}", hint(&source.to_string()))]
    Sysctl {
        /// File below /proc/sys.
        path: String,
        /// Wanted value.
        value: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The kernel's netfilter could not be asked.
    #[error("cannot {action}: {source}{}", hint(&source.to_string()))]
    Netfilter {
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The kernel refused the rules.
    #[error("nftables refused to {action}: {reason}{}", hint(reason))]
    Nft {
        /// What was tried.
        action: &'static str,
        /// Which part of it, and the kernel's answer.
        reason: String,
    },
    /// Another bridge has the guests' addresses.
    #[error(
        "the bridge '{bridge}' has the addresses {net}, so machines cannot have {subnet}: give this server another \
         network.subnet, or, if no server uses that bridge any more, remove it: ip link delete {bridge}"
    )]
    SubnetTaken {
        /// Ours.
        subnet: Ipv4Net,
        /// The other one.
        bridge: String,
        /// Its network.
        net: Ipv4Net,
    },
    /// Machines run that have addresses of another network.
    #[error(
        "{machines} machines run on the bridge '{bridge}' whose gateway is {former}, and cannot be moved to {subnet}: set network.subnet \
         back, end them (fireactions drain --wait), and change it then"
    )]
    SubnetInUse {
        /// The bridge.
        bridge: String,
        /// Its address.
        former: Ipv4Addr,
        /// As configured now.
        subnet: Ipv4Net,
        /// How many.
        machines: usize,
    },
    /// A table of our name holds what we did not make.
    #[error(
        "the nftables table '{family} {table}' was not made by fireactions, and its rules would be replaced; give it another \
         name, or, if nothing needs it, remove it: nft delete table {family} {table}"
    )]
    ForeignTable {
        /// Of the table.
        family: &'static str,
        /// Its name.
        table: String,
    },
    /// The task that did the work ended before it was done.
    #[error("the change of the network was cut short ({0}); it can be tried again")]
    Interrupted(String),
    /// The kernel gave no answer in time.
    #[error("{action} gave no answer within {seconds} s; the host is overloaded or its network stack hangs")]
    Timeout {
        /// What was tried.
        action: &'static str,
        /// How long was waited.
        seconds: u64,
    },
}

/// The next thing to do, for the two refusals that are not about us.
fn hint(reason: &str) -> &'static str {
    if reason.contains("Operation not permitted") || reason.contains("Permission denied") {
        "; the server needs root or CAP_NET_ADMIN"
    } else if reason.contains("not supported") {
        "; the host's kernel lacks it: load the modules bridge, tun, nf_tables, nft_connlimit and nf_conntrack_netlink"
    } else {
        ""
    }
}
