//! Hosts that belong together: who they are, and the NATS by which they talk.

use fireactions_model::{self as model, is_on_this_host};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{AbsolutePath, RunnerLabel, SecretFile, patterns};

/// A cluster: hosts that know of each other through NATS JetStream.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// Name of the cluster, the same on all of its hosts: 1 to 32 of `a-z 0-9 -`, starting with a letter. Several clusters may use one
    /// NATS.
    #[schemars(with = "String", extend("pattern" = model::ClusterName::PATTERN), example = &"ci")]
    pub name: model::ClusterName,
    /// The NATS that the hosts talk through.
    pub nats: NatsConfig,
    /// This host.
    #[serde(default)]
    pub host: ClusterHostConfig,
}

/// A NATS with JetStream.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NatsConfig {
    /// Addresses of its servers: `tls://HOST:PORT`, or `nats://HOST:PORT` for one on this host. The port is 4222 when absent. Of
    /// several, one that answers is used.
    #[schemars(length(min = 1, max = 16), example = ["tls://nats.example.com:4222"])]
    pub urls: Vec<NatsUrl>,
    /// File with this host's credentials, as `nsc generate creds` writes it: an absolute path, or `credential:NAME`. It is read at each
    /// connection.
    #[schemars(example = "credential:nats-creds")]
    pub creds_file: Option<SecretFile>,
    /// Certificates of the connection.
    #[serde(default)]
    pub tls: NatsTlsConfig,
}

/// Certificates of the connection to NATS.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NatsTlsConfig {
    /// Certificates (PEM) of the authorities to trust, in place of the usual ones.
    #[schemars(example = "/etc/ssl/certs/company.pem")]
    pub ca_file: Option<AbsolutePath>,
    /// This host's own certificate (PEM), where NATS wants one.
    #[schemars(example = "/etc/fireactions/nats.pem")]
    pub cert_file: Option<AbsolutePath>,
    /// The key of `cert_file` (PEM): an absolute path, or `credential:NAME`.
    #[schemars(example = "credential:nats-key")]
    pub key_file: Option<SecretFile>,
}

/// What the other hosts of the cluster are told of this one.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterHostConfig {
    /// Name of this host in the cluster, which no other host has: 1 to 63 of `A-Z a-z 0-9 _ -`. When absent, the host's own name up to
    /// its first dot.
    #[schemars(with = "Option<String>", extend("pattern" = model::ClusterHost::PATTERN), example = &"ci-1")]
    pub name: Option<model::ClusterHost>,
    /// What this host is or has, in your words, such as `gpu`.
    #[schemars(length(max = 64))]
    pub labels: Vec<RunnerLabel>,
    /// What fails together with this host, such as its room or its provider's zone: 1 to 63 of `A-Z a-z 0-9 . _ -`.
    #[schemars(extend("pattern" = patterns::ZONE), example = &"fsn1-dc3")]
    pub zone: Option<String>,
}

/// The address of a NATS server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = patterns::NATS_URL))]
pub struct NatsUrl(Url);

impl NatsUrl {
    /// The URL, with its port.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether nothing is sent there without TLS.
    pub fn is_tls(&self) -> bool {
        self.0.scheme() == "tls"
    }

    /// Whether it is on this host.
    pub fn is_on_this_host(&self) -> bool {
        // Only for `http` and the like does the parser read hosts as numbers.
        let web = format!("http{}", self.0.as_str().trim_start_matches(|c| c != ':'));
        web.parse().is_ok_and(|url| is_on_this_host(&url))
    }
}

impl TryFrom<String> for NatsUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        const HELP: &str = "write tls://HOST:PORT, such as tls://nats.example.com:4222";
        // It may have a password in it, so nothing of it is in a message.
        let fail = || format!("this is not the address of a NATS server: {HELP}");
        let mut url = Url::parse(&text).map_err(|_| fail())?;
        if !matches!(url.scheme(), "nats" | "tls") || url.host_str().is_none_or(str::is_empty) {
            return Err(fail());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "an address must not have a user or a password in it: name a file with 'creds_file:' beside 'urls:'"
                    .to_owned(),
            );
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(format!("this is more than a host and a port: {HELP}"));
        }
        url.set_path("");
        if url.port().is_none() && url.set_port(Some(4222)).is_err() {
            return Err(fail());
        }
        Ok(Self(url))
    }
}

impl From<NatsUrl> for String {
    fn from(url: NatsUrl) -> Self {
        url.as_str().to_owned()
    }
}
