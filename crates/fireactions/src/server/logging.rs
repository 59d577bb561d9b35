//! Log messages on standard error.

use std::io::IsTerminal;

use anyhow::anyhow;
use fireactions_config::{LogFormat, LogLevel};
use tracing_subscriber::EnvFilter;

/// Starts logging. `FIREACTIONS_LOG` (in tracing's filter language) wins over the configured level.
pub(crate) fn start(level: LogLevel, format: LogFormat) -> anyhow::Result<()> {
    let level = match level {
        LogLevel::Trace => "trace",
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    };
    // Libraries speak only when something is wrong: their debug lines can hold what must not be logged.
    // A filter takes every target that begins so: all crates of ours.
    // What people asked the API to change is said at every level.
    let default = format!("warn,fireactions={level},audit=info");
    let filter = match std::env::var("FIREACTIONS_LOG") {
        Ok(text) => EnvFilter::try_new(&text)
            .map_err(|e| anyhow!("FIREACTIONS_LOG='{text}' is not a log filter: {e}"))?,
        Err(_) => EnvFilter::try_new(default)?,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|e| anyhow!("logging could not be started: {e}"))
}
