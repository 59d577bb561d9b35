//! Programs that run beside a pool's jobs.

use fireactions_model as model;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::json;

use super::{Duration, patterns};

/// What tells that a program is ready, of those where it is known. Docker listens long before it answers.
fn known(program: &str) -> Option<model::ServiceReadiness> {
    let socket = |path: &str| Some(model::ServiceReadiness::Socket(path.to_owned()));
    match program {
        "dockerd" => Some(model::ServiceReadiness::Http {
            socket: "/run/docker.sock".to_owned(),
            path: "/_ping".to_owned(),
        }),
        "containerd" => socket("/run/containerd/containerd.sock"),
        "buildkitd" => socket("/run/buildkit/buildkitd.sock"),
        _ => None,
    }
}

/// A program that is started in each machine before it is ready, and ends with the job.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceKeys {
    /// Its name, unique in the pool. Its output is in the guest's `/var/log/fireactions/NAME.log`.
    #[schemars(extend("pattern" = patterns::SERVICE), example = &"registry")]
    pub name: String,
    /// Program and arguments; the name alone when absent.
    #[serde(default)]
    #[schemars(length(min = 1), example = ["registry", "serve", "/etc/registry.yml"])]
    pub command: Option<Vec<String>>,
    /// Who runs it: a name or number of the image, with or without a group.
    #[serde(default)]
    #[schemars(extend("default" = "root"), example = &"registry:registry")]
    pub user: Option<String>,
    /// What tells that it is ready. When absent, it is as soon as it runs; of `dockerd`, `containerd` and `buildkitd` it
    /// is known.
    #[serde(default)]
    pub ready: Option<ReadySetting>,
    /// Whether it is started again when it ends before the job.
    #[serde(default)]
    pub restart: bool,
    /// How long it may take to be ready, from 1s to 10m. It adds to the pool's `deadlines.agent`.
    #[serde(default = "default_timeout")]
    pub timeout: Duration,
}

const fn default_timeout() -> Duration {
    Duration::secs(60)
}

/// What tells that a service is ready.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReadySetting {
    /// Something listens at this Unix socket of the guest.
    Socket(String),
    /// An HTTP server at this Unix socket of the guest answers this path with success.
    Http(HttpConfig),
    /// Something listens at this TCP port of the guest's 127.0.0.1.
    Port(u16),
    /// This command ends with exit code 0.
    Command(Vec<String>),
}

/// What an HTTP server is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// Its Unix socket.
    pub socket: String,
    /// The path, which begins with `/`.
    pub path: String,
}

/// A service: its name alone, which is its command, or its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceConfig(pub ServiceKeys);

impl ServiceConfig {
    pub(super) fn spec(&self) -> model::ServiceSpec {
        let ServiceKeys { name, command, user, ready, restart, timeout } = &self.0;
        let command = command.clone().unwrap_or_else(|| vec![name.clone()]);
        let program = command.first().and_then(|program| program.rsplit('/').next());
        model::ServiceSpec {
            name: name.clone(),
            ready: match ready {
                Some(ReadySetting::Socket(path)) => Some(model::ServiceReadiness::Socket(path.clone())),
                Some(ReadySetting::Port(port)) => Some(model::ServiceReadiness::Port(*port)),
                Some(ReadySetting::Command(argv)) => Some(model::ServiceReadiness::Command(argv.clone())),
                Some(ReadySetting::Http(HttpConfig { socket, path })) => {
                    Some(model::ServiceReadiness::Http { socket: socket.clone(), path: path.clone() })
                }
                None => program.and_then(known),
            },
            command,
            user: user.clone().unwrap_or_default(),
            restart: *restart,
            timeout: timeout.0,
        }
    }
}

impl<'de> Deserialize<'de> for ServiceConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ServiceVisitor)
    }
}

struct ServiceVisitor;

impl<'de> Visitor<'de> for ServiceVisitor {
    type Value = ServiceConfig;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a program's name, or a section with name, command and more")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<ServiceConfig, E> {
        Ok(ServiceConfig(ServiceKeys {
            name: name.to_owned(),
            command: None,
            user: None,
            ready: None,
            restart: false,
            timeout: default_timeout(),
        }))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ServiceConfig, A::Error> {
        ServiceKeys::deserialize(MapAccessDeserializer::new(map)).map(ServiceConfig)
    }
}

impl JsonSchema for ServiceConfig {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ServiceConfig".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let keys = generator.subschema_for::<ServiceKeys>();
        let name = json!({ "type": "string", "pattern": patterns::SERVICE });
        let schema = json!({ "anyOf": [name, keys] });
        schema.try_into().unwrap_or_default()
    }
}
