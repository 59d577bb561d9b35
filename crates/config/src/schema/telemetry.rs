//! What the server tells other programs of what it does.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use url::Url;

use super::urls::web_url;
use super::{AbsolutePath, Duration, SecretFile, patterns};

/// What is told to other programs.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// A collector of OpenTelemetry, which gets a trace of each job when the job has ended. docs/observability.md explains it.
    pub otlp: Option<OtlpConfig>,
}

/// A collector of OpenTelemetry.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OtlpConfig {
    /// URL of the collector: `https://HOST:4317` for `grpc`; for `http` what stands before `/v1/traces`, such as
    /// `https://HOST:4318`.
    #[serde(deserialize_with = "url")]
    #[schemars(with = "String", extend("format" = "uri"), example = "https://otel.example.com:4317")]
    pub endpoint: Url,
    /// Protocol that the collector has at this address.
    #[serde(default)]
    pub protocol: OtlpProtocol,
    /// File with headers of each request, such as the collector's token: `NAME: VALUE`, one a line. An absolute path, or
    /// `credential:NAME`. It is read when the server starts.
    #[schemars(example = "credential:otlp-headers")]
    pub headers_file: Option<SecretFile>,
    /// Certificates (PEM) of authorities to trust in addition to the usual ones.
    #[schemars(example = "/etc/ssl/certs/company.pem")]
    pub ca_file: Option<AbsolutePath>,
    /// Allows an `endpoint` that begins with `http://`. Anybody on the network path can then read the traces and the headers.
    /// Loopback addresses are always allowed.
    #[serde(default)]
    pub insecure_http: bool,
    /// Deadline of a request. From `1s` to `1m`. A request that fails is repeated for ten minutes, with growing pauses.
    #[serde(default = "OtlpConfig::usual_timeout")]
    pub timeout: Duration,
    /// Attributes of the resource, in addition to `service.name`, `service.version` and `host.name`, which may be given here too.
    #[serde(default)]
    #[schemars(
        extend("propertyNames" = {"pattern": patterns::RESOURCE_KEY}, "maxProperties" = 64),
        example = serde_json::json!({"deployment.environment.name": "production"})
    )]
    pub resource: BTreeMap<String, String>,
}

/// Protocol of a collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OtlpProtocol {
    /// OTLP/gRPC, usually on port 4317.
    #[default]
    Grpc,
    /// OTLP/HTTP with protobuf, usually on port 4318.
    Http,
}

impl OtlpConfig {
    const fn usual_timeout() -> Duration {
        Duration::secs(10)
    }
}

fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    web_url(&String::deserialize(deserializer)?, "https://HOST:PORT, such as https://otel.example.com:4317")
}
