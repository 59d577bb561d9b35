//! Programs that run in the guest beside its job.

use serde::{Deserialize, Serialize};

/// A program that the agent starts before the job and ends after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Of its control group and its log, [`Service::log`]: letters, digits, `_` and `-`.
    pub name: String,
    /// Program (looked up in `PATH`) and arguments; not empty.
    pub argv: Vec<String>,
    /// As in an OCI image; `""` is root.
    pub user: String,
    /// What tells that it is ready; with nothing, it is as soon as it runs.
    pub ready: Option<Ready>,
    /// It is started again when it ends.
    pub restart: bool,
    /// How long it may take to be ready, in milliseconds.
    pub timeout_ms: u64,
}

/// What tells that a service is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ready {
    /// Something listens at this Unix socket.
    Socket(String),
    /// A server at this Unix socket answers a request for this path with success.
    Http {
        /// The socket.
        socket: String,
        /// The path, `/_ping`.
        path: String,
    },
    /// Something listens at this TCP port of the loopback address.
    Port(u16),
    /// This command ends with 0. It is tried again and again.
    Command(Vec<String>),
}

impl Service {
    /// Where its output is, in the guest.
    pub fn log(name: &str) -> String {
        format!("/var/log/fireactions/{name}.log")
    }
}
