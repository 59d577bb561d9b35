//! Log messages on standard error, or in the journal where that is what standard error leads to.

mod journal;

use std::io::IsTerminal;

use anyhow::anyhow;
use fireactions_config::{LogFormat, LogLevel};
use journal::Journal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

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
    let started = match journal().filter(|_| format == LogFormat::Text) {
        Some(journal) => tracing_subscriber::registry().with(filter).with(journal).try_init(),
        None => on_standard_error(filter, format),
    };
    started.map_err(|e| anyhow!("logging could not be started: {e}"))
}

fn on_standard_error(filter: EnvFilter, format: LogFormat) -> Result<(), TryInitError> {
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => {
            builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).finish().try_init()
        }
        LogFormat::Json => builder.json().finish().try_init(),
    }
}

/// The journal, where standard error leads to it and it can be reached: its lines are taken apart there, fields are not.
fn journal() -> Option<Journal> {
    let stream = std::env::var("JOURNAL_STREAM").ok();
    journal::is_connected(std::io::stderr(), stream.as_deref()).then(|| Journal::new().ok()).flatten()
}
