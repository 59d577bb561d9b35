//! The proxy for the guests' web, which is a part of the cache of registries.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AbsolutePath, CommandName, patterns};

/// A caching proxy (Squid) for the guests' requests to the web, at the bridge's address. `fireactions cache run` runs it beside the cache of
/// registries, and jobs find it in `HTTP_PROXY` and `HTTPS_PROXY`. It leads to the internet alone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProxyConfig {
    /// Whether there is a proxy, and jobs use it. It needs `registry_cache.enabled`.
    pub enabled: bool,
    /// TCP port at the bridge's address.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// Which https connections it opens, to cache what is in them.
    pub ssl_bump: SslBumpConfig,
    /// Most that it keeps on the disk, in MiB, in the directory `squid` of `registry_cache.storage_dir`.
    #[schemars(range(min = 64))]
    pub max_size_mib: u64,
    /// Memory for small objects, in MiB.
    #[schemars(range(min = 8))]
    pub memory_cache_mib: u64,
    /// Squid with OpenSSL (Debian's package squid-openssl): a name in `PATH`, or an absolute path.
    pub squid_binary: CommandName,
    /// Squid's helper that makes certificates. It is needed where connections are opened.
    pub certgen_binary: AbsolutePath,
}

/// Which https connections the proxy opens. What it opens, it reads; guests trust its authority for that, which `fireactions cache run` makes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SslBumpConfig {
    /// How many.
    pub mode: SslBumpMode,
    /// The servers of the mode `selective`: `example.com` is one, `.example.com` that and all below it; 256 at most.
    #[schemars(with = "Vec<String>", length(max = MOST_DOMAINS), inner(regex(pattern = patterns::BUMP_DOMAIN)), example = [".githubusercontent.com"])]
    pub domains: Vec<BumpDomain>,
}

/// How many https connections are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SslBumpMode {
    /// None: they are led through as they are, and nothing of them is cached.
    #[default]
    Off,
    /// Those to `domains`.
    Selective,
    /// All. Programs that trust certain certificates alone fail.
    All,
}

/// More domains than this are a mistake.
pub(crate) const MOST_DOMAINS: usize = 256;

/// A server whose connections are opened, or with a dot before it, all servers below.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct BumpDomain(String);

impl BumpDomain {
    /// As Squid has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for BumpDomain {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let label = |label: &str| {
            (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if text.len() <= 253 && text.strip_prefix('.').unwrap_or(&text).split('.').all(label) {
            return Ok(Self(text));
        }
        Err("this is not a domain: write example.com, or .example.com for that and all below it".into())
    }
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            port: 3128,
            ssl_bump: SslBumpConfig::default(),
            max_size_mib: 10 * 1024,
            memory_cache_mib: 256,
            squid_binary: CommandName::fixed("squid"),
            certgen_binary: AbsolutePath::fixed("/usr/lib/squid/security_file_certgen"),
        }
    }
}
