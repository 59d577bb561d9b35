//! What can go wrong, said for people.

use std::io;

/// Why the network could not be changed or read.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The configuration cannot work.
    #[error("network configuration: '{value}' is no usable {what}: {rule}")]
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
    /// A tap could not be made or opened.
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
    /// `nft` could not be started or talked to.
    #[error("cannot run nft: {0}; install the package nftables and see that nft is in the server's PATH")]
    NftUnavailable(io::Error),
    /// `nft` refused the rules.
    #[error("nftables refused to {action}: {message}{}", hint(message))]
    Nft {
        /// What was tried.
        action: &'static str,
        /// nft's own words, cut to 2000 characters.
        message: String,
    },
    /// `nft` printed something else than JSON of its documented form (libnftables-json(5)).
    #[error("nft list gave an unexpected answer: {0}; is its version at least 1.0?")]
    NftListing(String),
    /// The task that did the work ended before it was done.
    #[error("the change of the network was cut short ({0}); it can be tried again")]
    Interrupted(String),
    /// The kernel or `nft` gave no answer in time.
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
        "; the host's kernel lacks it: load the modules bridge, tun, nf_tables and nft_connlimit"
    } else {
        ""
    }
}
