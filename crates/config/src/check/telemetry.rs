//! A collector of traces: whether it can be reached at its address by its protocol.

use fireactions_model::is_private;

use super::{At, Check};
use crate::schema::Duration;
use crate::{Config, OtlpConfig, OtlpProtocol};

const SHORTEST: Duration = Duration::secs(1);
const LONGEST: Duration = Duration::secs(60);
/// The most attributes, and the most bytes of one's value.
const ATTRIBUTES: usize = 64;
const VALUE: usize = 1024;

impl Check<'_> {
    pub(super) fn telemetry(&mut self, config: &Config) {
        let Some(otlp) = &config.telemetry.otlp else { return };
        let at = At::root().key("telemetry").key("otlp");
        self.endpoint(&at, otlp);
        if otlp.timeout < SHORTEST || otlp.timeout > LONGEST {
            let key = at.key("timeout");
            let message = format!("{key} cannot be {}", otlp.timeout);
            self.error(&key, &[], message, "use a time from 1s to 1m; 10s is usual");
        }
        self.resource(&at.key("resource"), otlp);
    }

    fn endpoint(&mut self, at: &At, otlp: &OtlpConfig) {
        let (key, protocol, url) = (at.key("endpoint"), at.key("protocol"), &otlp.endpoint);
        let has_user = !url.username().is_empty() || url.password().is_some();
        let path = url.path().trim_end_matches('/');
        if has_user || url.query().is_some() || url.fragment().is_some() {
            self.error(
                &key,
                &[],
                format!("{key} is more than a host and a path"),
                "write https://HOST:PORT; tokens go into the file of headers_file",
            );
        } else if otlp.protocol == OtlpProtocol::Http && path.ends_with("/v1/traces") {
            self.error(
                &key,
                &[&protocol],
                format!("{key} has the path of traces in it, which is added to it"),
                "leave out 'v1/traces'",
            );
        } else if otlp.protocol == OtlpProtocol::Grpc && !path.is_empty() {
            self.error(
                &key,
                &[&protocol],
                format!("{key} has a path, but gRPC has none"),
                "write https://HOST:PORT; for OTLP over HTTP, add 'protocol: http'",
            );
        } else if !is_private(url) && !otlp.insecure_http {
            self.error(
                &key,
                &[&at.key("insecure_http")],
                format!("{key} does not use https, so anybody on the network path could read the traces"),
                format!(
                    "write https://HOST:PORT; put your own certificate authority into {at}.ca_file; if the network path is safe, set 'insecure_http: true'"
                ),
            );
        } else if let (OtlpProtocol::Grpc, Some(4318)) | (OtlpProtocol::Http, Some(4317)) =
            (otlp.protocol, url.port())
        {
            let (own, other) = match otlp.protocol {
                OtlpProtocol::Grpc => ("grpc", "http"),
                OtlpProtocol::Http => ("http", "grpc"),
            };
            self.warn(
                &key,
                format!(
                    "{key} has the port that collectors usually have for {other}, but the protocol is {own}"
                ),
                format!("add 'protocol: {other}', or change the port"),
            );
        }
    }

    fn resource(&mut self, at: &At, otlp: &OtlpConfig) {
        if otlp.resource.len() > ATTRIBUTES {
            let message = format!("{at} has {} attributes", otlp.resource.len());
            self.error(at, &[], message, format!("use {ATTRIBUTES} at most"));
        }
        for (name, value) in &otlp.resource {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            if name.is_empty() || name.len() > 255 || !name.bytes().all(plain) {
                self.error(
                    at,
                    &[],
                    format!("{at} has '{name}', which is not an attribute's name"),
                    "use 1 to 255 of a-z A-Z 0-9 . _ -, such as deployment.environment.name",
                );
            } else if value.len() > VALUE || value.chars().any(char::is_control) {
                let key = at.key(name.clone());
                let message = format!("the value of {key} is too long or contains control characters");
                self.error(&key, &[], message, format!("use one line of at most {VALUE} bytes"));
            }
        }
    }
}
