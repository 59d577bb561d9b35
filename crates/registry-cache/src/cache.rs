//! The cache as it is configured, and where in it a registry's images are.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::{Login, Proxy};

/// What caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Zot: one process for all registries. Docker Hub's images have their own names there, others begin with their registry's.
    Zot,
    /// Debian's docker-registry: one process for each registry.
    DockerRegistry,
}

impl Program {
    /// Its name, as people write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Zot => "zot",
            Self::DockerRegistry => "docker-registry",
        }
    }
}

/// The whole cache of a host.
#[derive(Debug, Clone)]
pub struct Cache {
    /// What caches.
    pub program: Program,
    /// The guests' bridge.
    pub bridge: String,
    /// Its address, and the cache's.
    pub gateway: Ipv4Addr,
    /// Zot's port.
    pub port: u16,
    /// Where the images are kept.
    pub storage: PathBuf,
    /// What is cached.
    pub upstreams: Vec<Upstream>,
    /// The proxy for the web, if there is one.
    pub proxy: Option<Proxy>,
}

/// A registry that is cached.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// As images name it: `host[:port]`.
    pub name: String,
    /// Where it is, without a slash at the end.
    pub url: String,
    /// Its docker-registry's port.
    pub port: u16,
    /// Who asks there.
    pub login: Option<Login>,
}

/// Where a registry's images are in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The registry, as images name it.
    pub registry: String,
    /// Where it is itself.
    pub upstream: String,
    /// `address:port`.
    pub host: String,
    /// What the names of its images begin with there; `None`: they are as they are.
    pub prefix: Option<String>,
}

impl Mirror {
    /// The API's URL for its images, `/v2` and all.
    pub fn api(&self) -> String {
        match &self.prefix {
            None => format!("http://{}/v2", self.host),
            Some(prefix) => format!("http://{}/v2/{prefix}", self.host),
        }
    }

    /// What stands before an image's name: the host, and the prefix if there is one.
    pub fn location(&self) -> String {
        match &self.prefix {
            None => self.host.clone(),
            Some(prefix) => format!("{}/{prefix}", self.host),
        }
    }
}

/// Docker Hub, as images name it.
pub(crate) const HUB: &str = "docker.io";

/// What the names of a registry's images begin with in Zot, where no name has a colon.
pub(crate) fn zot_prefix(registry: &str) -> String {
    registry.replace(':', "_")
}

impl Cache {
    /// Where each registry's images are.
    pub fn mirrors(&self) -> Vec<Mirror> {
        let mirror = |upstream: &Upstream| {
            let (port, prefix) = match self.program {
                Program::Zot => (self.port, (upstream.name != HUB).then(|| zot_prefix(&upstream.name))),
                Program::DockerRegistry => (upstream.port, None),
            };
            Mirror {
                registry: upstream.name.clone(),
                upstream: upstream.url.clone(),
                host: format!("{}:{port}", self.gateway),
                prefix,
            }
        };
        self.upstreams.iter().map(mirror).collect()
    }

    /// The ports at the gateway that guests use.
    pub fn ports(&self) -> BTreeSet<u16> {
        let mut ports: BTreeSet<u16> = match self.program {
            Program::Zot => BTreeSet::from([self.port]),
            Program::DockerRegistry => self.upstreams.iter().map(|upstream| upstream.port).collect(),
        };
        ports.extend(self.proxy.as_ref().map(|proxy| proxy.port));
        ports
    }

    /// The file in which the running cache says how it is.
    pub fn status_file(&self) -> PathBuf {
        self.storage.join("status.json")
    }

    /// The proxy's `address:port`.
    pub fn proxy_address(&self) -> Option<String> {
        self.proxy.as_ref().map(|proxy| format!("{}:{}", self.gateway, proxy.port))
    }

    /// The certificate of the authority that the proxy has, and its key, which only the proxy reads.
    pub fn authority(&self) -> (PathBuf, PathBuf) {
        (self.storage.join("ca.pem"), self.storage.join("ca.key"))
    }

    /// The directory of what one program keeps: Zot's, Squid's, or of one registry.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        self.storage.join(name)
    }
}
