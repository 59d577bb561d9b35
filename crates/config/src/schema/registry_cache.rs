//! The cache of registries on the host, for the guests' images.

use std::collections::BTreeMap;

use fireactions_model::ImageRef;
use schemars::JsonSchema;
use serde::de::Deserializer;
use serde::{Deserialize, Serialize};
use url::Url;

use super::urls::web_url;
use super::{AbsolutePath, CommandName, ProxyConfig, SecretFile, patterns};

/// A pull-through cache of registries on this host. `fireactions cache run` runs it at the bridge's address; guests are set up to
/// take images from it. docs/caches.md explains it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryCacheConfig {
    /// Whether guests use the cache.
    pub enabled: bool,
    /// The registries that are cached, by the names that images have for them; 32 at most. `{}` is enough for each. By default
    /// `docker.io`, `ghcr.io`, `quay.io` and `gcr.io`.
    #[schemars(
        with = "BTreeMap<String, UpstreamConfig>",
        extend(
            "propertyNames" = {"pattern": patterns::REGISTRY_NAME},
            "maxProperties" = MOST_UPSTREAMS,
            "examples" = [{"docker.io": {}, "ghcr.io": {}}]
        )
    )]
    pub mirrors: BTreeMap<RegistryName, UpstreamConfig>,
    /// The program that caches. When absent, Zot where `zot_binary` is installed, else Debian's docker-registry.
    #[schemars(example = "docker-registry")]
    pub program: Option<CacheProgram>,
    /// Zot: a name in `PATH`, or an absolute path.
    pub zot_binary: CommandName,
    /// Debian's docker-registry: a name in `PATH`, or an absolute path.
    pub docker_registry_binary: CommandName,
    /// The first TCP port at the bridge's address. Zot serves all registries there. docker-registry serves `docker.io` there, and each
    /// other one at the next port, in the order of their names, unless it has a `port` of its own.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// Directory of the cached images. Created if it does not exist.
    pub storage_dir: AbsolutePath,
    /// Size limit of that directory, in MiB. While it is larger, what was not used for the longest time is removed. No limit when
    /// absent; docker-registry also forgets what it fetched a week ago. Zot cannot be limited.
    #[schemars(range(min = 64), example = 51200)]
    pub max_size_mib: Option<u64>,
    /// What stays free on that directory's file system, in MiB: images are removed for it, those first that were not used for the
    /// longest time. Where that is not enough, guests are sent to the registries themselves. Zot cannot be limited.
    pub keep_free_mib: u64,
    /// Images that `fireactions cache run` pulls ahead, at its start and each day, so that the first job finds them; 100 at most. Each is
    /// of one of `mirrors`.
    #[schemars(with = "Vec<String>", length(max = MOST_WARM), inner(regex(pattern = ImageRef::PATTERN)), example = ["docker.io/library/debian:12"])]
    pub warm: Vec<ImageRef>,
    /// A proxy for the guests' other requests to the web.
    pub proxy: ProxyConfig,
}

/// One cached registry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamConfig {
    /// Where the registry is: a URL without a path. By default `https://` and its name; for `docker.io`, Docker Hub's own. Without TLS
    /// only if `images.insecure_registries` lists its host, or if it is on this host.
    #[serde(deserialize_with = "url")]
    #[schemars(with = "Option<String>", extend("format" = "uri"), example = "https://registry.example.com")]
    pub url: Option<Url>,
    /// JSON file with the login at the registry: `{"HOST": {"username": "…", "password": "…"}}`, where `HOST` is the host of `url`, with
    /// its port if it has one. An absolute path, or `credential:NAME`. Every job can then pull whatever this login may.
    #[schemars(example = "credential:registries")]
    pub credentials_file: Option<SecretFile>,
    /// TCP port of its docker-registry at the bridge's address.
    #[schemars(range(min = 1), example = 5010)]
    pub port: Option<u16>,
}

/// What caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CacheProgram {
    /// Zot: one process for all registries.
    Zot,
    /// Debian's docker-registry: one process for each.
    DockerRegistry,
}

/// More processes and ports than this are a mistake.
pub(crate) const MOST_UPSTREAMS: usize = 32;

/// More images than this are a mistake.
pub(crate) const MOST_WARM: usize = 100;

/// Docker Hub, as images name it.
pub(crate) const HUB: &str = "docker.io";

/// A registry as images name it: `host` or `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct RegistryName(String);

impl RegistryName {
    /// A name of this crate's own, known to be right.
    fn fixed(name: &'static str) -> Self {
        Self(name.to_owned())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where it is, unless something else is said.
    fn usual_url(&self) -> String {
        if self.0 == HUB { "https://registry-1.docker.io".to_owned() } else { format!("https://{}", self.0) }
    }
}

impl TryFrom<String> for RegistryName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (host, port) = text.split_once(':').unwrap_or((&text, "1"));
        let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let fine = text.len() <= 255
            && host.starts_with(edge)
            && host.ends_with(edge)
            && host.chars().all(|c| edge(c) || ".-".contains(c))
            && port.bytes().all(|b| b.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port > 0);
        if fine {
            return Ok(Self(text));
        }
        Err("this is not a registry's name: write host or host:port as images have it, in lower case, such as docker.io or registry.example.com:5000".into())
    }
}

/// A cached registry with all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream<'a> {
    /// As images name it.
    pub name: &'a RegistryName,
    /// Where it is, without a slash at the end.
    pub url: String,
    /// Its port where each has one.
    pub port: u16,
    /// The login there.
    pub credentials_file: Option<&'a SecretFile>,
}

impl RegistryCacheConfig {
    /// The registries in the order of their ports: Docker Hub's first, so that it stays where it is when others are added.
    pub fn upstreams<'a>(&'a self) -> Vec<Upstream<'a>> {
        let mut list: Vec<_> = self.mirrors.iter().collect();
        list.sort_by_key(|(name, _)| name.as_str() != HUB);
        let upstream = |(index, (name, own)): (usize, (&'a RegistryName, &'a UpstreamConfig))| Upstream {
            name,
            url: match &own.url {
                Some(url) => url.as_str().trim_end_matches('/').to_owned(),
                None => name.usual_url(),
            },
            port: own
                .port
                .unwrap_or_else(|| self.port.saturating_add(u16::try_from(index).unwrap_or(u16::MAX))),
            credentials_file: own.credentials_file.as_ref(),
        };
        list.into_iter().enumerate().map(upstream).collect()
    }
}

impl Default for RegistryCacheConfig {
    fn default() -> Self {
        let usual = [HUB, "ghcr.io", "quay.io", "gcr.io"];
        Self {
            enabled: false,
            mirrors: usual.map(|name| (RegistryName::fixed(name), UpstreamConfig::default())).into(),
            program: None,
            zot_binary: CommandName::fixed("zot"),
            docker_registry_binary: CommandName::fixed("docker-registry"),
            port: 5000,
            storage_dir: AbsolutePath::fixed("/var/cache/fireactions-registry"),
            max_size_mib: None,
            keep_free_mib: 5 * 1024,
            warm: Vec::new(),
            proxy: ProxyConfig::default(),
        }
    }
}

fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    web_url(&text, "https://HOST, such as https://registry.example.com").map(Some)
}
