//! Where Firecracker writes its log and its metrics.

use std::ops::Not;

use serde::{Deserialize, Serialize};

use super::request::{Method, Request};
use super::{ApiError, Feature, Version};

/// What is logged: this and what is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What failed.
    Error,
    /// What looks wrong.
    Warning,
    /// Every request with its body, but for the metadata's: kernel arguments are in the log then.
    Info,
    /// For Firecracker's developers.
    Debug,
    /// Every function call, in builds that have this.
    Trace,
}

/// `PUT /logger`. Before the start only. The file is opened without waiting, so a pipe needs a reader by then; what does
/// not fit into a full pipe is lost and counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logger {
    /// A named pipe or a file.
    pub log_path: String,
    /// What is logged.
    pub level: LogLevel,
    /// Whether lines have their level; [`super::log::LogLine`] reads it.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub show_level: bool,
    /// Whether lines have the source file and line they come from.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub show_log_origin: bool,
    /// Only messages of this module and those in it. Since [`Feature::LoggerModule`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
}

impl Request for Logger {
    type Answer = ();
    const METHOD: Method = Method::Put;

    fn path(&self) -> String {
        "/logger".into()
    }

    fn check(&self, version: Version) -> Result<(), ApiError> {
        version.require_if(self.module.is_some(), Feature::LoggerModule)
    }
}

/// `PUT /metrics`. Before the start only and once. Firecracker writes a line of JSON every 60 seconds and on
/// [`super::Action::FlushMetrics`]; [`super::metrics::Metrics`] reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricsFile {
    /// A named pipe or a file.
    pub metrics_path: String,
}

impl Request for MetricsFile {
    type Answer = ();
    const METHOD: Method = Method::Put;
    fn path(&self) -> String {
        "/metrics".into()
    }
}
