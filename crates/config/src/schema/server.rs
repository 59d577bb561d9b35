//! The top level of the file.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use fireactions_model::ForgeName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    AbsolutePath, ActionsCacheConfig, ApiTokenConfig, ClusterConfig, CommandName, ForgeConfig, GiteaConfig,
    GithubConfig, GroupName, HostConfig, ImagesConfig, KernelConfig, ListenAddress, LocalConfig, Mode,
    NetworkConfig, OidcConfig, PoolConfig, RegistryCacheConfig, SecretFile, ShutdownConfig, StickyConfig,
    TelemetryConfig, VmmConfig, forge, kernel_args, patterns,
};

/// The server's configuration file. Every key is optional.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// TCP address of the API (`host:port`; `:8080` means every address). When absent, no TCP socket is opened. Any
    /// address except a loopback one needs `api_token_file`, `api_tokens` or `api_oidc`.
    #[schemars(example = "127.0.0.1:8080")]
    pub bind_address: Option<ListenAddress>,
    /// Unix socket of the API: a path of at most 107 bytes.
    #[schemars(extend("maxLength" = 107))]
    pub api_socket: AbsolutePath,
    /// Permission bits of the API's Unix socket, in octal. Anybody who can write to the socket can run anything in a
    /// microVM.
    #[schemars(extend("pattern" = patterns::MODE_OF_GROUP), example = "0660")]
    pub api_socket_mode: Mode,
    /// Group that owns the API's Unix socket. When absent, the server's own group.
    #[schemars(example = &"fireactions")]
    pub api_socket_group: Option<GroupName>,
    /// File with the bearer token of the API that may do everything, at TCP addresses and for what a proxy or a browser brings to the Unix
    /// socket: an absolute path, or `credential:NAME` for a file of that name in the
    /// directory that systemd passes in `$CREDENTIALS_DIRECTORY`.
    #[schemars(example = "credential:api-token")]
    pub api_token_file: Option<SecretFile>,
    /// More tokens of the API, each with a name and a role; people log in to the page with them. They count at TCP addresses, and on the
    /// Unix socket for what a proxy or a browser brings there; programs of the host that come to it directly need none.
    /// `api_token_file` is an administrator's. The files are read
    /// when the server starts: after a change, reload it, which no job notices.
    pub api_tokens: Vec<ApiTokenConfig>,
    /// A provider by which people log in to the page. docs/page.md explains it.
    pub api_oidc: Option<OidcConfig>,
    /// Minimum severity of log messages that are written.
    pub log_level: LogLevel,
    /// Format of log messages on standard error. `text` goes to the journal with its fields, where systemd has connected the two.
    pub log_format: LogFormat,
    /// `true` is another way to write `log_level: debug`.
    pub debug: bool,
    /// Prometheus metrics on a separate address. The API serves `/metrics` in any case.
    pub metrics: MetricsConfig,
    /// What is told to other programs of what happens.
    pub telemetry: TelemetryConfig,
    /// Directory of all durable state, a path of at most 70 bytes. Created with mode 0700 if it does not exist.
    #[schemars(extend("maxLength" = 70))]
    pub state_dir: AbsolutePath,
    /// The guest agent's static binary. When absent, `fireactions-agent` in the directory of the server's executable.
    #[schemars(example = "/usr/lib/fireactions/fireactions-agent")]
    pub agent_path: Option<AbsolutePath>,
    /// The virtual machine monitor.
    pub vmm: VmmConfig,
    /// The default guest kernel, for pools that do not name their own.
    pub kernel: KernelConfig,
    /// The network of the machines: one bridge for all.
    pub network: NetworkConfig,
    /// The image store.
    pub images: ImagesConfig,
    /// The cache of registries on this host.
    pub registry_cache: RegistryCacheConfig,
    /// The cache service of CI jobs (`actions/cache`) on this host.
    pub actions_cache: ActionsCacheConfig,
    /// What this host keeps for sticky directories of pools.
    pub sticky: StickyConfig,
    /// The share of the host that machines may use.
    pub host: HostConfig,
    /// Other hosts that this one belongs together with. When absent, this host is alone and connects to nothing. docs/cluster.md explains
    /// it.
    pub cluster: Option<ClusterConfig>,
    /// The built-in job queue.
    pub local: LocalConfig,
    /// How the server stops.
    pub shutdown: ShutdownConfig,
    /// GitHub: how to reach it, and how it reports jobs. Pools say below `runner` that they belong to it.
    pub github: Option<GithubConfig>,
    /// A Gitea: how to reach it, and how it reports jobs. Pools say below `runner` that they belong to it.
    pub gitea: Option<GiteaConfig>,
    /// A Forgejo: how to reach it. Pools say below `runner` that they belong to it. It has the keys of `gitea` except
    /// `webhook`: Forgejo has no webhook that reports single jobs.
    #[schemars(transform = forge::forgejo)]
    pub forgejo: Option<GiteaConfig>,
    /// More forges by name, such as a second Gitea, or a GitHub Enterprise Server in addition to GitHub.com. `kind` is
    /// `github`, `gitea` or `forgejo`, and the other keys are those of the section with that name. Pools say with
    /// `runner.forge` which one they belong to. Names consist of `a-z 0-9 -`.
    #[schemars(
        with = "BTreeMap<String, ForgeConfig>",
        extend(
            "propertyNames" = {"pattern": ForgeName::PATTERN, "not": {"enum": ["local"]}},
            "examples" = [{"ghes": {"kind": "github", "url": "https://github.example.com", "token_file": "credential:ghes-token"}}]
        )
    )]
    pub forges: BTreeMap<ForgeName, ForgeConfig>,
    /// The pools, in order of preference: of two pools that could serve a job equally well, the first does.
    pub pools: Vec<PoolConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bind_address: None,
            api_socket: AbsolutePath::fixed("/run/fireactions/api.sock"),
            api_socket_mode: Mode(0o660),
            api_socket_group: None,
            api_token_file: None,
            api_tokens: Vec::new(),
            api_oidc: None,
            log_level: LogLevel::Info,
            log_format: LogFormat::Text,
            debug: false,
            metrics: MetricsConfig::default(),
            telemetry: TelemetryConfig::default(),
            state_dir: AbsolutePath::fixed("/var/lib/fireactions"),
            agent_path: None,
            vmm: VmmConfig::default(),
            kernel: KernelConfig::default(),
            network: NetworkConfig::default(),
            images: ImagesConfig::default(),
            registry_cache: RegistryCacheConfig::default(),
            actions_cache: ActionsCacheConfig::default(),
            sticky: StickyConfig::default(),
            host: HostConfig::default(),
            cluster: None,
            local: LocalConfig::default(),
            shutdown: ShutdownConfig::default(),
            github: None,
            gitea: None,
            forgejo: None,
            forges: BTreeMap::new(),
            pools: Vec::new(),
        }
    }
}

impl Config {
    /// The pools as the engine wants them: complete, in the file's order. `kernel.args` and `kernel.modules_load` stand before
    /// each pool's own; a pool without a kernel of its own still has none, for the default may be chosen per start.
    pub fn pools(&self) -> Vec<fireactions_model::PoolSpec> {
        let complete = |pool: &PoolConfig| {
            let mut spec = pool.spec(self.place(pool));
            spec.kernel.args = kernel_args::appended(&format!("{} {}", self.kernel.args, spec.kernel.args));
            let common = self.kernel.modules_load.iter().map(|name| name.as_str().to_owned());
            spec.guest.modules_load = common.chain(spec.guest.modules_load).collect();
            spec
        };
        self.pools.iter().map(complete).collect()
    }

    /// Firecracker's binary: the server's own setting, else what a pool says as existing files do (a file in which
    /// pools disagree is refused), else `firecracker`.
    pub fn firecracker_binary(&self) -> CommandName {
        let of_pools = || self.pools.iter().find_map(|pool| pool.firecracker.binary_path.as_ref());
        let given = self.vmm.firecracker_binary.as_ref().or_else(of_pools);
        given.cloned().unwrap_or_else(|| CommandName::fixed("firecracker"))
    }

    /// The level that counts: `debug: true` lowers `log_level` to debug.
    pub fn effective_log_level(&self) -> LogLevel {
        if self.debug && self.log_level > LogLevel::Debug { LogLevel::Debug } else { self.log_level }
    }

    /// The guest agent's binary, given the path of the server's own executable.
    pub fn agent_beside(&self, server: &Path) -> std::path::PathBuf {
        match &self.agent_path {
            Some(path) => path.to_path_buf(),
            None => server.with_file_name("fireactions-agent"),
        }
    }
}

/// Severity of log messages, from the most talkative to the most silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(transform = aliases)]
pub enum LogLevel {
    /// Every step, for developers.
    Trace,
    /// Every decision that the server makes.
    Debug,
    /// Normal operation.
    Info,
    /// Possible problems.
    Warn,
    /// Failures.
    #[serde(alias = "fatal", alias = "panic")]
    Error,
}

/// Other names that are read; schemars knows none of serde's aliases.
fn aliases(schema: &mut schemars::Schema) {
    let Some(serde_json::Value::Array(levels)) = schema.get_mut("oneOf") else { return };
    for name in ["fatal", "panic"] {
        let description = "Same as `error`, for files of other fireactions versions.";
        levels.push(serde_json::json!({"const": name, "type": "string", "description": description}));
    }
}

impl LogLevel {
    /// The name, as `tracing` filters have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// Format of log messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Readable lines.
    Text,
    /// One JSON object per line.
    Json,
}

/// The metrics listener.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Whether the listener is opened. When absent, it is if `address` is given.
    pub enabled: Option<bool>,
    /// TCP address of the listener, by default `127.0.0.1:8081`. It serves `/metrics` only, without authentication.
    #[schemars(example = "127.0.0.1:8081")]
    pub address: Option<ListenAddress>,
    /// Whether metrics are also served under the names that hostinger's fireactions 0.4, 1.x and 2.x give them, for
    /// existing panels and alerts. docs/switching.md lists them.
    pub compat: bool,
}

impl MetricsConfig {
    /// The address of a listener that is enabled without one.
    pub(crate) const USUAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8081);

    /// Where there is a listener, if there is one.
    pub fn listen(&self) -> Option<SocketAddr> {
        let address = self.address.map(|address| address.0);
        self.enabled.unwrap_or(address.is_some()).then(|| address.unwrap_or(Self::USUAL))
    }
}
