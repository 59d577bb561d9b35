//! What can be wrong with NATS, for people.

use std::time::Duration;

/// Why something in NATS could not be done. Each text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// No server answers.
    #[error(
        "NATS at {urls} cannot be reached: {why}; check that nats-server runs there and that no firewall is in between"
    )]
    Unreachable {
        /// The configured servers.
        urls: String,
        /// What the system said.
        why: String,
    },
    /// It does not know this host.
    #[error(
        "NATS at {urls} refuses this host: {why}; check cluster.nats.creds_file or the certificate below cluster.nats.tls, and that the account still has them"
    )]
    Refused {
        /// The configured servers.
        urls: String,
        /// What NATS said.
        why: String,
    },
    /// TLS does not come about.
    #[error(
        "there is no TLS with NATS at {urls}: {why}; check cluster.nats.tls.ca_file, and that the server's certificate has the name of its URL"
    )]
    Tls {
        /// The configured servers.
        urls: String,
        /// What is wrong.
        why: String,
    },
    /// A file of this host.
    #[error("the credentials of this host for NATS cannot be used: {0}")]
    Credentials(String),
    /// Messages only.
    #[error(
        "this NATS has no JetStream: add 'jetstream {{store_dir: /var/lib/nats}}' to nats-server's configuration, and let the account use it ({0})"
    )]
    NoJetStream(String),
    /// The disk or the account's limit.
    #[error(
        "JetStream has no room for the bucket '{bucket}': {why}; raise max_file_store of nats-server, or the account's limit of storage"
    )]
    NoStorage {
        /// The bucket.
        bucket: String,
        /// What NATS said.
        why: String,
    },
    /// Somebody deleted it.
    #[error(
        "the bucket '{0}' is not in NATS: either no host of the cluster was ever started, or somebody deleted it; a server of the cluster makes it again within seconds"
    )]
    NoBucket(String),
    /// No answer.
    #[error(
        "NATS did not answer in {} s while {doing}; it may be overloaded, without a quorum, or the user may lack the permissions that docs/cluster.md lists",
        deadline.as_secs()
    )]
    Late {
        /// What was asked.
        doing: String,
        /// How long it was waited for.
        deadline: Duration,
    },
    /// Nobody answers there.
    #[error("no host '{0}' is in the cluster now; `fireactions cluster status` shows those that are")]
    NoHost(fireactions_model::ClusterHost),
    /// Another version.
    #[error(
        "the hosts of this cluster speak protocol {theirs}, and this one speaks {ours}; upgrade {}",
        if theirs > ours { "this host" } else { "the other hosts, then delete the key 'protocol' of the bucket" }
    )]
    Protocol {
        /// What stands in the bucket.
        theirs: u32,
        /// What this program speaks.
        ours: u32,
    },
    /// What is there makes no sense.
    #[error(
        "the key '{key}' of the bucket '{bucket}' cannot be read: {why}; it was written by something else, so delete it"
    )]
    Odd {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// Anything else.
    #[error("NATS refused {doing}: {why}")]
    Other {
        /// What was asked.
        doing: String,
        /// What NATS said.
        why: String,
    },
}

/// All that an error says, down to its cause: the client's own words leave the server's out.
pub(crate) fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = cause.source();
    }
    text
}
