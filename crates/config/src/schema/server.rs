//! The top level of the file.

use std::collections::BTreeMap;
use std::path::Path;

use fireactions_model::ForgeName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    AbsolutePath, CommandName, ForgeConfig, GiteaConfig, GithubConfig, GroupName, HostConfig, ImagesConfig,
    KernelConfig, ListenAddress, LocalConfig, Mode, NetworkConfig, PoolConfig, RefusedSecret, SecretFile,
    ShutdownConfig, VmmConfig, forge, patterns,
};

/// Everything the server is told by its configuration file. Every key may be left out.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// TCP address of the API (`host:port`; `:8080` is every address). No TCP socket is opened when absent.
    /// Any address but a loopback one needs `api_token_file`.
    #[schemars(example = "127.0.0.1:8080")]
    pub bind_address: Option<ListenAddress>,
    /// Unix socket of the API: a path of at most 107 bytes.
    #[schemars(extend("maxLength" = 107))]
    pub api_socket: AbsolutePath,
    /// Permission bits of the API's Unix socket, as an octal text. Whoever can write to the socket can run
    /// anything in a microVM.
    #[schemars(extend("pattern" = patterns::MODE_OF_GROUP), example = "0660")]
    pub api_socket_mode: Mode,
    /// Group that owns the API's Unix socket; the server's own group when absent.
    #[schemars(example = &"fireactions")]
    pub api_socket_group: Option<GroupName>,
    /// File with the bearer token of the TCP API: an absolute path, or `credential:NAME` for a file of that
    /// name in the directory systemd passes in `$CREDENTIALS_DIRECTORY`.
    #[schemars(example = "credential:api-token")]
    pub api_token_file: Option<SecretFile>,
    /// Inline tokens are refused; use `api_token_file`.
    #[doc(hidden)]
    #[schemars(skip)]
    pub(crate) api_token: Option<RefusedSecret>,
    /// Basic authentication of older configuration files is refused; use `api_token_file`.
    #[doc(hidden)]
    #[schemars(skip)]
    pub(crate) basic_auth_enabled: Option<RefusedSecret>,
    /// Basic authentication of older configuration files is refused; use `api_token_file`.
    #[doc(hidden)]
    #[schemars(skip)]
    pub(crate) basic_auth_users: Option<RefusedSecret>,
    /// Least severe log messages that are written.
    pub log_level: LogLevel,
    /// Form of log messages on standard error.
    pub log_format: LogFormat,
    /// `true` is another way to write `log_level: debug`.
    pub debug: bool,
    /// Prometheus metrics on an address of their own. The API serves `/metrics` in any case.
    pub metrics: MetricsConfig,
    /// Directory of all durable state, a path of at most 70 bytes. Made with mode 0700 when it does not exist.
    #[schemars(extend("maxLength" = 70))]
    pub state_dir: AbsolutePath,
    /// The guest agent's static binary; `fireactions-agent` beside the server's own executable when absent.
    #[schemars(example = "/usr/lib/fireactions/fireactions-agent")]
    pub agent_path: Option<AbsolutePath>,
    /// The virtual machine monitor.
    pub vmm: VmmConfig,
    /// The guest kernel of pools that do not name their own.
    pub kernel: KernelConfig,
    /// The bridge that all machines are on.
    pub network: NetworkConfig,
    /// The image store.
    pub images: ImagesConfig,
    /// What of the host machines may use.
    pub host: HostConfig,
    /// The built-in job queue.
    pub local: LocalConfig,
    /// How the server stops.
    pub shutdown: ShutdownConfig,
    /// GitHub: how it is reached, and how it tells of jobs. Which pools are GitHub's is said there, below `runner`.
    pub github: Option<GithubConfig>,
    /// A Gitea: where it is, and how it tells of jobs. Which pools are its is said there, below `runner`.
    pub gitea: Option<GiteaConfig>,
    /// A Forgejo: where it is. Which pools are its is said there, below `runner`. It has the keys of `gitea` but for
    /// `webhook`: Forgejo has none that tells of single jobs.
    #[schemars(transform = forge::forgejo)]
    pub forgejo: Option<GiteaConfig>,
    /// More forges, each with a name of its own, such as a second Gitea, or a GitHub Enterprise Server beside GitHub.com.
    /// `kind` says what it is, `github`, `gitea` or `forgejo`, and the other keys are those of the section of that name.
    /// Pools say with `runner.forge` which one they belong to. Names are of `a-z 0-9 -`.
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
            api_token: None,
            basic_auth_enabled: None,
            basic_auth_users: None,
            log_level: LogLevel::Info,
            log_format: LogFormat::Text,
            debug: false,
            metrics: MetricsConfig::default(),
            state_dir: AbsolutePath::fixed("/var/lib/fireactions"),
            agent_path: None,
            vmm: VmmConfig::default(),
            kernel: KernelConfig::default(),
            network: NetworkConfig::default(),
            images: ImagesConfig::default(),
            host: HostConfig::default(),
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
            let args = format!("{} {}", self.kernel.args, spec.kernel.args);
            spec.kernel.args = String::from(args.trim());
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
    /// Every decision.
    Debug,
    /// What an operator wants to see on a good day.
    Info,
    /// What may become a problem.
    Warn,
    /// What failed.
    #[serde(alias = "fatal", alias = "panic")]
    Error,
}

/// Other names that are read; schemars knows none of serde's aliases.
fn aliases(schema: &mut schemars::Schema) {
    let Some(serde_json::Value::Array(levels)) = schema.get_mut("oneOf") else { return };
    for name in ["fatal", "panic"] {
        let description = "As `error`, in files of other fireactions versions.";
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

/// Form of log messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The metrics listener.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Whether the listener is opened.
    pub enabled: bool,
    /// TCP address of the listener. It serves `/metrics` only, without authentication.
    pub address: ListenAddress,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self { enabled: false, address: ListenAddress(std::net::SocketAddr::from(([127, 0, 0, 1], 8081))) }
    }
}
