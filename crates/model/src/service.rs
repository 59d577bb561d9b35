//! Programs that run beside a pool's jobs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A program that is started in each of a pool's guests before it is ready, and ends with the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ServiceSpec {
    /// Its name, unique in the pool: letters, digits, `_` and `-`.
    pub name: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Who runs it, as in an OCI image; empty is root.
    pub user: String,
    /// What tells that it is ready; when absent, it is as soon as it runs.
    pub ready: Option<ServiceReadiness>,
    /// It is started again when it ends.
    pub restart: bool,
    /// How long it may take to be ready.
    #[cfg_attr(feature = "schema", schema(value_type = crate::SecsNanos))]
    pub timeout: Duration,
}

impl ServiceSpec {
    /// Whether a service may have this name.
    pub fn is_name(name: &str) -> bool {
        let of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        (1..=64).contains(&name.len()) && name.bytes().all(of_a_name)
    }
}

/// What tells that a service is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ServiceReadiness {
    /// Something listens at this Unix socket of the guest.
    Socket(String),
    /// A server at this Unix socket of the guest answers a request for this path with success.
    Http {
        /// The socket.
        socket: String,
        /// The path.
        path: String,
    },
    /// Something listens at this TCP port of the guest's loopback address.
    Port(u16),
    /// This command ends with 0.
    Command(Vec<String>),
}
