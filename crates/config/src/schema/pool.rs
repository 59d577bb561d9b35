//! One pool.

use std::path::PathBuf;

use fireactions_model as model;
use ipnet::Ipv4Net;
use model::{ForgeName, ImageRef, PoolName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    DiskLimitsConfig, Duration, FirecrackerConfig, GuestDir, OnFailureSetting, RunnerLabel, ScaleSetSetting,
    ServiceConfig, StartSetting, StickyDirConfig,
};
use super::{exclusive, patterns};

/// One pool of identical machines.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("allOf" = exclusive::pool()))]
pub struct PoolConfig {
    /// The pool's name, unique in the file.
    #[schemars(with = "String", extend("pattern" = PoolName::PATTERN), example = &"default")]
    pub name: PoolName,
    /// Number of machines that are kept ready while there is no work.
    #[serde(default)]
    #[schemars(range(max = 65536))]
    pub min_runners: Option<u32>,
    /// Maximum number of machines at once. A pool without `max_runners` and `replicas` has no machines until it is scaled.
    #[schemars(range(min = 1, max = 65536), example = 10)]
    pub max_runners: Option<u32>,
    /// Sets both `min_runners` and `max_runners`, as some existing files do. With 0, the pool has no machines until it is
    /// scaled: `fireactions pools scale`.
    #[schemars(range(max = 65536), example = 5)]
    pub replicas: Option<u32>,
    /// What the machines are used for, and their root image.
    pub runner: RunnerConfig,
    /// The hardware and kernel of the machines. The section's name comes from existing files; it applies to every
    /// `vmm.driver`, except for keys that say otherwise.
    #[serde(default)]
    pub firecracker: FirecrackerConfig,
    /// Size of a machine's writable disk, in MiB. It is sparse: only what is written takes space on the host.
    #[serde(default = "default_disk")]
    #[schemars(range(min = 16, max = 16_777_216))]
    pub disk_size_mib: u32,
    /// Bytes of a machine's writable disk for each file or directory that it has room for: a power of two from 1024 to 65536.
    /// Builds with very many small files, as of a large `node_modules`, need fewer bytes for each.
    #[serde(default = "default_inode")]
    #[schemars(extend("enum" = [1024, 2048, 4096, 8192, 16384, 32768, 65536]))]
    pub disk_bytes_per_inode: u32,
    /// How much of the writable disk is swap, in MiB: what does not fit into the machine's memory goes there instead of ending the
    /// job. At most half of `disk_size_mib`.
    #[serde(default)]
    #[schemars(range(max = 8_388_608), example = 4096)]
    pub swap_mib: u32,
    /// Rate limits of a machine's writable disk, reads and writes together.
    #[serde(default)]
    pub disk_limits: DiskLimitsConfig,
    /// How machines start.
    #[serde(default)]
    pub start: StartSetting,
    /// Who is PID 1 in the guest.
    #[serde(default)]
    pub init: InitSetting,
    /// What the machines can reach: by default the public internet over IPv4, and nothing else.
    #[serde(default)]
    pub network: PoolNetworkConfig,
    /// How long each step of a machine may take.
    #[serde(default)]
    pub deadlines: DeadlinesConfig,
    /// What happens to a machine that failed, or whose job failed: it is destroyed, or held for inspection.
    #[serde(default)]
    #[schemars(extend("default" = "destroy"), example = serde_json::json!({"hold": {"for": "30m", "max": 2}}))]
    pub on_failure: OnFailureSetting,
}

const fn default_disk() -> u32 {
    10 * 1024
}

const fn default_inode() -> u32 {
    model::Hardware::BYTES_PER_INODE
}

/// What the machines are for.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("allOf" = exclusive::runner()))]
pub struct RunnerConfig {
    /// Prefix of the runners' names at a forge. When absent, the pool's name.
    #[serde(default)]
    #[schemars(example = &"ci")]
    pub name: Option<String>,
    /// Root image: a registry reference, `oci:/directory[:tag]` or `oci-archive:/file[:tag]`.
    #[schemars(with = "String", extend("pattern" = ImageRef::PATTERN), example = "docker.io/library/debian:12")]
    pub image: ImageRef,
    /// When the image's tag is looked up at its source.
    #[serde(default)]
    pub image_pull_policy: PullSetting,
    /// The pool serves a job if all labels of the job are in this list. Case does not matter, except at Gitea and
    /// Forgejo. The name of the pool's scale set at GitHub is an additional label. Runners of Gitea and Forgejo run
    /// jobs for `NAME` and `NAME:host` in the machine itself, and jobs for `NAME:docker://IMAGE` in a container in it;
    /// the job's `runs-on` is `NAME`.
    #[serde(default)]
    #[schemars(with = "Vec<String>", inner(regex(pattern = patterns::LABEL)), example = ["self-hosted", "debian"])]
    pub labels: Vec<RunnerLabel>,
    /// The forge whose runners the machines are: `github`, `gitea`, `forgejo`, or a name in `forges`. When absent, the
    /// only declared forge, or else `github`.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("pattern" = ForgeName::PATTERN), example = &"github")]
    pub forge: Option<ForgeName>,
    /// Organization of the forge whose runners the machines are. Without `organization`, `repository`, `enterprise` and
    /// `scope`, the pool serves the built-in queue.
    #[serde(default)]
    #[schemars(extend("pattern" = patterns::ORGANIZATION), example = "example-org")]
    pub organization: Option<String>,
    /// Repository whose runners the machines are, as `OWNER/NAME`.
    #[serde(default)]
    #[schemars(extend("pattern" = patterns::REPOSITORY), example = "example-org/project")]
    pub repository: Option<String>,
    /// GitHub enterprise whose runners the machines are. Needs `github.token_file`.
    #[serde(default)]
    #[schemars(extend("pattern" = patterns::LOGIN), example = "example-enterprise")]
    pub enterprise: Option<String>,
    /// Whose runners the machines are at a Gitea or a Forgejo, if not those of an organization or a repository.
    #[serde(default)]
    pub scope: Option<ScopeSetting>,
    /// Name of the runner group at GitHub. When absent, the default group.
    #[serde(default)]
    #[schemars(example = &"Default")]
    pub group: Option<String>,
    /// Number of the runner group at GitHub, instead of `group`.
    #[serde(default)]
    #[schemars(range(min = 1), example = 1)]
    pub group_id: Option<u64>,
    /// Whether jobs come through a runner scale set, which needs no open port: `true` (a set with the pool's name), a
    /// name, or `false` (webhook and audit find the jobs). Jobs select the set by its name: `runs-on: NAME`.
    #[serde(default)]
    #[schemars(extend("default" = true))]
    pub scale_set: ScaleSetSetting,
    /// Command that starts the forge's runner in the image. When absent, the server looks for the runner: GitHub's as
    /// `bin/Runner.Listener` or `run.sh` in the image's working directory, the user's home, `/home/runner`,
    /// `/actions-runner`, `/opt/actions-runner` and `/opt/runner`, Gitea's as `act_runner`, Forgejo's as
    /// `forgejo-runner`.
    #[serde(default)]
    #[schemars(example = ["./run.sh"])]
    pub command: Option<Vec<String>>,
    /// Who starts the runner in the guest.
    #[serde(default)]
    pub started_by: StartedBySetting,
    /// GitHub's directory for jobs: relative to the runner's own directory, or an absolute path. When absent, `_work`. It lies
    /// on the guest's disk itself, as `data_dirs` do.
    #[serde(default)]
    #[schemars(example = &"_work")]
    pub work_folder: Option<String>,
    /// Directories of the guest that lie on its disk itself, with what the image has in them, instead of in the overlay
    /// above the image. Container engines need that for their layers: `/var/lib/docker`, `/var/lib/containerd` and
    /// `/var/lib/containers` always lie there. What the image has in such a directory is copied when a machine starts.
    #[serde(default)]
    #[schemars(length(max = 16), example = ["/home/runner/_work"])]
    pub data_dirs: Vec<GuestDir>,
    /// Programs that are started in each machine before it is ready, in this order, and end with the job: a container
    /// engine, say. Not for `init: image`, where the image's init starts such programs.
    #[serde(default)]
    #[schemars(length(max = 16), example = ["dockerd"])]
    pub services: Vec<ServiceConfig>,
    /// Directories of the guest that a job finds as the last job of the same repository left them that succeeded: caches of
    /// compilers and packages, layers of Docker. Only for pools of one `repository` and of the built-in queue, where all jobs of the
    /// pool share them. Jobs of pull requests find them, and what those write is not kept. Not for `init: image`.
    #[serde(default)]
    #[schemars(length(max = model::StickyDir::MOST))]
    pub sticky: Vec<StickyDirConfig>,
}

/// Whose runners a pool's machines are at a Gitea or a Forgejo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScopeSetting {
    /// Runners of the whole instance. The token must belong to a site administrator.
    Instance,
    /// Runners of the user to whom the token belongs.
    User,
}

/// Who starts the runner in the guest. Whoever does not has no credential, so there is one runner and never two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StartedBySetting {
    /// The fireactions agent, in any image.
    #[default]
    Agent,
    /// A service of the image, which reads its JIT configuration from Firecracker's metadata service
    /// (`latest/meta-data/fireactions/runner_jit_config`) once there is one, as images for hostinger/fireactions do. Needs
    /// `init: image`, `vmm.driver: firecracker` and GitHub.
    Image,
}

/// When an image's tag is looked up at its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum PullSetting {
    /// For every machine, because the tag may have moved.
    Always,
    /// Only when the image is not in the store.
    #[default]
    IfNotPresent,
    /// Never; an absent image is an error.
    Never,
}

/// Who is PID 1 in the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InitSetting {
    /// The fireactions agent: the fastest start, any image.
    #[default]
    Agent,
    /// The image's own `/sbin/init`; the agent runs beside it.
    Image,
}

/// What the machines can reach.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PoolNetworkConfig {
    /// Private or link-local IPv4 networks that machines can reach.
    #[schemars(with = "Vec<String>", inner(regex(pattern = patterns::NETWORK)), example = ["10.20.0.0/16"])]
    pub allow: Vec<Ipv4Net>,
    /// Ports on the host's bridge address that machines can reach, as `tcp/PORT` or `udp/PORT`.
    #[schemars(example = ["tcp/3128"])]
    pub host_ports: Vec<HostPort>,
    /// Bandwidth limit of each machine in each direction, in Mbit/s. No limit when absent.
    #[schemars(range(min = 1, max = 1_000_000), example = 200)]
    pub bandwidth_mbit: Option<u32>,
    /// Maximum number of simultaneous connections of each machine. 0 means no limit: then one machine can fill the
    /// host's connection tracking table, and no new connection is possible for anybody.
    pub max_connections: u32,
}

impl Default for PoolNetworkConfig {
    fn default() -> Self {
        let model::NetworkPolicy { allow, bandwidth_mbit, max_connections, .. } =
            model::NetworkPolicy::default();
        Self { allow, host_ports: Vec::new(), bandwidth_mbit, max_connections }
    }
}

/// A port of the host, `tcp/PORT` or `udp/PORT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = patterns::HOST_PORT))]
pub struct HostPort(pub model::PortRule);

impl TryFrom<String> for HostPort {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let rule =
            || "this is not a port: write tcp/PORT or udp/PORT, with a port from 1 to 65535".to_owned();
        let (protocol, port) = text.split_once('/').ok_or_else(rule)?;
        let protocol = match protocol {
            "tcp" => model::Protocol::Tcp,
            "udp" => model::Protocol::Udp,
            _ => return Err(rule()),
        };
        match port.parse::<u16>() {
            Ok(number) if number > 0 && !port.starts_with('+') => {
                Ok(Self(model::PortRule { protocol, port: number }))
            }
            _ => Err(rule()),
        }
    }
}

impl From<HostPort> for String {
    fn from(HostPort(rule): HostPort) -> Self {
        let protocol = match rule.protocol {
            model::Protocol::Tcp => "tcp",
            model::Protocol::Udp => "udp",
        };
        format!("{protocol}/{}", rule.port)
    }
}

/// How long each step of a machine may take. A machine that exceeds one is destroyed, and the pool waits a little
/// before the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeadlinesConfig {
    /// Image pull and conversion.
    pub image: Duration,
    /// From the start of the VMM to the guest agent's first message.
    pub boot: Duration,
    /// From the agent's first message until the machine is ready.
    pub agent: Duration,
    /// From the delivery of the work until its process runs.
    pub online: Duration,
    /// A ready machine without work is replaced by a fresh one after this time; `0s` means never.
    pub idle: Duration,
    /// How long an agent that has connected may be silent before its machine is given up: it was killed, or the guest
    /// or its VMM hangs. Not below `5s`, so that a slow guest is not mistaken for a dead one.
    pub silence: Duration,
    /// Maximum time that a job may run. A job's own timeout can only be shorter.
    pub job: Duration,
    /// From the request to power off until the machine is killed.
    pub shutdown: Duration,
}

impl Default for DeadlinesConfig {
    fn default() -> Self {
        let model = model::Deadlines::default();
        Self {
            image: Duration(model.image),
            boot: Duration(model.boot),
            agent: Duration(model.agent),
            online: Duration(model.online),
            idle: Duration(model.idle),
            silence: Duration(model.silence),
            job: Duration(model.job),
            shutdown: Duration(model.shutdown),
        }
    }
}

impl PoolConfig {
    /// Machines kept ready.
    pub fn min(&self) -> u32 {
        self.min_runners.or(self.replicas).unwrap_or(0)
    }

    /// Maximum number of machines at once.
    pub fn max(&self) -> u32 {
        self.max_runners.or(self.replicas).unwrap_or(0)
    }

    /// The pool as the engine wants it, at this forge. Where so many runners always wait, the forge asks for them itself.
    pub(super) fn spec(&self, forge: Option<model::PoolForge>) -> model::PoolSpec {
        let size = self.firecracker.machine_config;
        let stands = forge.as_ref().is_some_and(|forge| match &forge.runner {
            model::ForgeRunner::Github(_) => false,
            model::ForgeRunner::Gitea(runner) | model::ForgeRunner::Forgejo(runner) => {
                runner.standing.is_some()
            }
        });
        let work_folder = forge.as_ref().and_then(|forge| work_folder(&forge.runner));
        model::PoolSpec {
            name: self.name.clone(),
            min_runners: if stands { 0 } else { self.min() },
            max_runners: self.max(),
            labels: self.runner.labels.iter().map(|label| label.label().clone()).collect(),
            shape: model::Shape {
                image: self.runner.image.clone(),
                vcpus: size.vcpu_count,
                memory_mib: size.mem_size_mib,
                disk_mib: self.disk_size_mib,
            },
            pull: match self.runner.image_pull_policy {
                PullSetting::Always => model::PullPolicy::Always,
                PullSetting::IfNotPresent => model::PullPolicy::IfNotPresent,
                PullSetting::Never => model::PullPolicy::Never,
            },
            kernel: model::KernelSpec {
                image: self.firecracker.kernel_image_path.clone().map(PathBuf::from),
                modules: self.firecracker.kernel_modules_path.clone().map(PathBuf::from),
                args: self.firecracker.kernel_args.clone(),
            },
            init: match self.init {
                InitSetting::Agent => model::InitMode::Agent,
                InitSetting::Image => model::InitMode::Image,
            },
            network: model::NetworkPolicy {
                allow: self.network.allow.clone(),
                host_ports: self.network.host_ports.iter().map(|port| port.0).collect(),
                bandwidth_mbit: self.network.bandwidth_mbit,
                max_connections: self.network.max_connections,
            },
            deadlines: self.deadlines.spec(),
            on_failure: self.on_failure.spec(),
            start: self.start.spec(),
            hardware: self.firecracker.hardware(self.disk_limits, self.disk_bytes_per_inode),
            guest: model::GuestSetup {
                modules_load: self.firecracker.modules_load(),
                data_dirs: self.runner.data_dirs.iter().map(|dir| dir.as_str().to_owned()).collect(),
                work_folder,
                swap_mib: self.swap_mib,
            },
            services: self.runner.services.iter().map(ServiceConfig::spec).collect(),
            sticky: self.runner.sticky.iter().map(StickyDirConfig::spec).collect(),
            metadata: self.firecracker.metadata(),
            user_data: self.firecracker.user_data.clone(),
            forge,
        }
    }
}

/// Where a forge's runner works, if that can be told to a guest. Those of Gitea and Forgejo do as they do when nobody says.
fn work_folder(runner: &model::ForgeRunner) -> Option<String> {
    let folder = match runner {
        model::ForgeRunner::Github(runner) => runner.work_folder.as_str(),
        model::ForgeRunner::Gitea(_) | model::ForgeRunner::Forgejo(_) => ".cache/act",
    };
    let fits = (1..=64).contains(&folder.len()) && folder.chars().all(|c| c.is_ascii_graphic());
    fits.then(|| folder.to_owned())
}

impl RunnerConfig {
    /// Whether the runners belong to a forge, and not to the built-in queue.
    pub(crate) fn is_hosted(&self) -> bool {
        self.forge.is_some() || self.scope_keys().next().is_some()
    }

    /// The keys that say where at a forge the runners belong, as far as they are given.
    pub(crate) fn scope_keys(&self) -> impl Iterator<Item = &'static str> {
        let keys = [
            ("organization", self.organization.is_some()),
            ("repository", self.repository.is_some()),
            ("enterprise", self.enterprise.is_some()),
            ("scope", self.scope.is_some()),
        ];
        keys.into_iter().filter_map(|(key, given)| given.then_some(key))
    }

    /// Where at a GitHub the runners belong, or what is wrong with its name; nothing when no key of GitHub says it.
    pub(crate) fn github_scope(&self) -> Option<Result<model::GithubScope, String>> {
        let scope = if let Some(name) = &self.organization {
            model::GithubScope::organization(name)
        } else if let Some(name) = &self.enterprise {
            model::GithubScope::enterprise(name)
        } else {
            match owner_and_name(self.repository.as_ref()?) {
                Ok((owner, name)) => model::GithubScope::repository(owner, name),
                Err(error) => return Some(Err(error)),
            }
        };
        Some(scope.map_err(|error| error.to_string()))
    }

    /// The same at a Gitea or a Forgejo.
    pub(crate) fn gitea_scope(&self) -> Option<Result<model::GiteaScope, String>> {
        let scope = if let Some(name) = &self.organization {
            model::GiteaScope::organization(name)
        } else if let Some(scope) = self.scope {
            Ok(match scope {
                ScopeSetting::Instance => model::GiteaScope::Instance,
                ScopeSetting::User => model::GiteaScope::User,
            })
        } else {
            match owner_and_name(self.repository.as_ref()?) {
                Ok((owner, name)) => model::GiteaScope::repository(owner, name),
                Err(error) => return Some(Err(error)),
            }
        };
        Some(scope.map_err(|error| error.to_string()))
    }

    /// How runners' names begin.
    pub(crate) fn prefix<'a>(&'a self, pool: &'a PoolName) -> &'a str {
        self.name.as_deref().unwrap_or(pool.as_str())
    }

    /// The pool's machines at a GitHub. A name that is wrong was told when the file was checked.
    pub(super) fn github(&self, pool: &PoolName) -> Option<model::GithubRunner> {
        let usual = model::GithubRunner::new(self.github_scope()?.ok()?);
        let by_name = self.group.clone().map(model::RunnerGroup::Name);
        Some(model::GithubRunner {
            group: by_name.or(self.group_id.map(model::RunnerGroup::Id)).unwrap_or_default(),
            prefix: self.prefix(pool).to_owned(),
            scale_set: self.scale_set.name(pool),
            command: self.command.clone(),
            work_folder: self.work_folder.clone().unwrap_or(usual.work_folder),
            by_image: self.started_by == StartedBySetting::Image,
            scope: usual.scope,
        })
    }
}

fn owner_and_name(repository: &str) -> Result<(&str, &str), String> {
    match repository.split_once('/') {
        Some((_, name)) if name.strip_suffix(".git").is_some() => {
            Err(format!("'{repository}' is a repository's address for git: write OWNER/NAME, without '.git'"))
        }
        Some((owner, name)) if !name.contains('/') => Ok((owner, name)),
        _ => Err(format!("'{repository}' is not a repository: write OWNER/NAME")),
    }
}

impl DeadlinesConfig {
    fn spec(self) -> model::Deadlines {
        model::Deadlines {
            image: self.image.0,
            boot: self.boot.0,
            agent: self.agent.0,
            online: self.online.0,
            idle: self.idle.0,
            silence: self.silence.0,
            job: self.job.0,
            shutdown: self.shutdown.0,
        }
    }
}
