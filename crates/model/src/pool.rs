//! What a pool is, as the configuration declares it.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::pool_forge;
use crate::{
    ForgeRunner, GiteaRunner, GithubRunner, GuestSetup, Hardware, ImageRef, Labels, PoolForge, PoolName,
    ServiceSpec, StartMode, StickyDir,
};

/// What makes two machines interchangeable. A warm machine serves a job only when the shapes are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Shape {
    /// Root image.
    pub image: ImageRef,
    /// Virtual CPUs, at least 1.
    pub vcpus: u8,
    /// Guest memory in MiB.
    pub memory_mib: u32,
    /// Writable scratch disk in MiB (sparse on the host).
    pub disk_mib: u32,
}

/// When an image's tag is looked up at its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum PullPolicy {
    /// At every machine: the tag may have moved.
    Always,
    /// Only when it is not in the store.
    #[default]
    IfNotPresent,
    /// Never: an absent image is an error.
    Never,
}

/// Who is PID 1 in the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum InitMode {
    /// The agent stays PID 1 (fastest).
    #[default]
    Agent,
    /// The image's own `/sbin/init`; the agent runs beside it.
    Image,
}

/// The guest kernel.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct KernelSpec {
    /// A `vmlinux` or `bzImage`. The host configuration's default kernel when absent.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub image: Option<PathBuf>,
    /// A `/lib/modules/VERSION` directory, for kernels that have needed drivers as modules.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub modules: Option<PathBuf>,
    /// Appended to the kernel command line.
    pub args: String,
}

/// Transport protocol of a port rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port of the host that guests may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PortRule {
    /// Transport.
    pub protocol: Protocol,
    /// Port on the bridge's address.
    pub port: u16,
}

/// What a pool's machines may reach. The default is the public internet by IPv4 and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NetworkPolicy {
    /// Private or link-local networks opened for this pool.
    #[cfg_attr(feature = "schema", schema(value_type = Vec<String>))]
    pub allow: Vec<Ipv4Net>,
    /// Ports on the host's bridge address that guests may reach.
    pub host_ports: Vec<PortRule>,
    /// Bandwidth limit each way, in Mbit/s; none when absent.
    pub bandwidth_mbit: Option<u32>,
    /// Most simultaneous tracked connections of one machine; 0 = no limit.
    pub max_connections: u32,
}

impl NetworkPolicy {
    /// Connections of a machine of whose pool nothing else is said. The host's table is the same for all machines and the
    /// host itself, and one machine without a bound can fill it.
    pub const CONNECTIONS: u32 = 4096;
}

impl Default for NetworkPolicy {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            host_ports: Vec::new(),
            bandwidth_mbit: None,
            max_connections: Self::CONNECTIONS,
        }
    }
}

/// How long each wait of a machine's way may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Deadlines {
    /// Image pull and conversion.
    #[cfg_attr(feature = "schema", schema(value_type = crate::SecsNanos))]
    pub image: Duration,
    /// VMM start until the agent's first word.
    #[cfg_attr(feature = "schema", schema(value_type = crate::SecsNanos))]
    pub boot: Duration,
    /// Agent's first word until ready.
    #[cfg_attr(feature = "schema", schema(value_type = crate::SecsNanos))]
    pub agent: Duration,
    /// Work delivered until its process runs, or a forge's runner is online.
    #[cfg_attr(feature = "schema", schema(value_type = crate::SecsNanos))]
    pub online: Duration,
    /// A ready machine without work is replaced after this; zero = never.
    #[cfg_attr(feature = "schema", schema(value_type = crate::SecsNanos))]
    pub idle: Duration,
    /// Silence of an agent that has spoken, until its machine is given up. It is asked for a sign of life several times
    /// meanwhile, and half of the time over a fresh connection.
    #[cfg_attr(feature = "schema", schema(value_type = crate::SecsNanos))]
    pub silence: Duration,
    /// The longest a job may run; a job's own timeout may only be shorter.
    #[cfg_attr(feature = "schema", schema(value_type = crate::SecsNanos))]
    pub job: Duration,
    /// Asked to power off until killed.
    #[cfg_attr(feature = "schema", schema(value_type = crate::SecsNanos))]
    pub shutdown: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            image: Duration::from_secs(600),
            boot: Duration::from_secs(60),
            agent: Duration::from_secs(20),
            online: Duration::from_secs(60),
            idle: Duration::ZERO,
            silence: Duration::from_secs(90),
            job: Duration::from_secs(6 * 3600),
            shutdown: Duration::from_secs(5),
        }
    }
}

/// What happens to a machine that failed, or whose job failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// It goes at once.
    #[default]
    Destroy,
    /// It stays to be looked into, if its VMM process still runs. It counts against the host's budget, not against
    /// the pool's maximum.
    Hold {
        /// For how long.
        #[serde(rename = "for")]
        #[cfg_attr(feature = "schema", schema(value_type = crate::SecsNanos))]
        for_: Duration,
        /// Most machines of the pool at once; the next ones go at once.
        max: u32,
    },
}

/// One pool, complete: defaults are filled in, everything is checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PoolSpec {
    /// Its name, unique on a server.
    pub name: PoolName,
    /// Number of machines kept warm.
    pub min_runners: u32,
    /// Maximum number of machines at once.
    pub max_runners: u32,
    /// What jobs it serves.
    #[cfg_attr(feature = "schema", schema(value_type = Vec<crate::Label>))]
    pub labels: Labels,
    /// Shape of its warm machines; jobs of the local forge may ask for another.
    pub shape: Shape,
    /// When the image is looked up.
    pub pull: PullPolicy,
    /// Guest kernel.
    pub kernel: KernelSpec,
    /// PID 1.
    pub init: InitMode,
    /// Reach.
    pub network: NetworkPolicy,
    /// Waits.
    pub deadlines: Deadlines,
    /// What becomes of failed machines.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// How its machines come to run.
    #[serde(default)]
    pub start: StartMode,
    /// What its machines are given besides their shape.
    #[serde(default)]
    pub hardware: Hardware,
    /// What its guests have set up besides the image.
    #[serde(default)]
    pub guest: GuestSetup,
    /// Programs beside its jobs, in the order in which they start.
    #[serde(default)]
    pub services: Vec<ServiceSpec>,
    /// Directories that its jobs find as the last one left them, each on a disk of its own.
    #[serde(default)]
    pub sticky: Vec<StickyDir>,
    /// Free-form metadata handed to the guest, as existing configuration files have it.
    pub metadata: serde_json::Value,
    /// `user-data` of the metadata service, as cloud-init reads it.
    #[serde(default)]
    pub user_data: Option<String>,
    /// The hosted forge whose jobs it serves; none for a pool of the built-in queue.
    #[serde(default, alias = "github", deserialize_with = "pool_forge::read")]
    pub forge: Option<PoolForge>,
}

impl PoolSpec {
    /// A pool of at most one machine of this shape, with everything else as it is by default: nothing kept warm, no
    /// labels, no metadata.
    pub fn new(name: PoolName, shape: Shape) -> Self {
        Self {
            name,
            min_runners: 0,
            max_runners: 1,
            labels: Labels::new(),
            shape,
            pull: PullPolicy::default(),
            kernel: KernelSpec::default(),
            init: InitMode::default(),
            network: NetworkPolicy::default(),
            deadlines: Deadlines::default(),
            on_failure: OnFailure::default(),
            start: StartMode::default(),
            hardware: Hardware::default(),
            guest: GuestSetup::default(),
            services: Vec::new(),
            sticky: Vec::new(),
            metadata: serde_json::Value::Null,
            user_data: None,
            forge: None,
        }
    }

    /// What its machines are at GitHub, if they are.
    pub fn github(&self) -> Option<&GithubRunner> {
        match &self.forge.as_ref()?.runner {
            ForgeRunner::Github(runner) => Some(runner),
            ForgeRunner::Gitea(_) | ForgeRunner::Forgejo(_) => None,
        }
    }

    /// What its machines are at a Gitea or a Forgejo, if they are.
    pub fn gitea(&self) -> Option<&GiteaRunner> {
        match &self.forge.as_ref()?.runner {
            ForgeRunner::Gitea(runner) | ForgeRunner::Forgejo(runner) => Some(runner),
            ForgeRunner::Github(_) => None,
        }
    }

    /// The scale set through which its jobs come.
    pub fn scale_set(&self) -> Option<&str> {
        self.github()?.scale_set.as_deref()
    }
}
