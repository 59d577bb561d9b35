//! What Firecracker writes besides its answers: a log and metrics.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::config::Level;

/// As Firecracker's.
const METRICS_EVERY: Duration = Duration::from_secs(60);

/// The log and the metrics, shared by all threads.
#[derive(Clone)]
pub(crate) struct Outputs(Arc<Mutex<Inner>>);

struct Inner {
    id: String,
    /// Standard output where there is none.
    log: Option<File>,
    level: Level,
    show_level: bool,
    metrics: Option<File>,
    requests: u64,
}

impl Outputs {
    pub(crate) fn new(id: &str, level: Level, show_level: bool) -> Self {
        let inner = Inner { id: id.to_owned(), log: None, level, show_level, metrics: None, requests: 0 };
        Self(Arc::new(Mutex::new(inner)))
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn log_to(&self, path: &Path) -> io::Result<()> {
        self.inner().log = Some(open(path)?);
        Ok(())
    }

    /// What is logged from now on. Without a level it is Firecracker's own again.
    pub(crate) fn log_level(&self, level: Option<Level>, show_level: Option<bool>) {
        let mut inner = self.inner();
        inner.level = level.unwrap_or(Level::Info);
        inner.show_level = show_level.unwrap_or(inner.show_level);
    }

    /// The error is the end of Firecracker's own sentence.
    pub(crate) fn metrics_to(&self, path: &Path) -> Result<(), String> {
        let file = open(path).map_err(|error| error.to_string())?;
        let mut inner = self.inner();
        if inner.metrics.is_some() {
            return Err("Reinitialization of metrics not allowed.".to_owned());
        }
        inner.metrics = Some(file);
        Ok(())
    }

    /// One line of the log.
    pub(crate) fn log(&self, level: Level, thread: &str, text: &str) {
        let mut inner = self.inner();
        if level > inner.level {
            return;
        }
        let shown = if inner.show_level { format!(":{level:?}").to_uppercase() } else { String::new() };
        let line = format!("{} [{}:{thread}{shown}] {text}\n", now(), inner.id);
        // A reader that does not keep up loses lines.
        let _ = match &mut inner.log {
            Some(file) => file.write_all(line.as_bytes()),
            None => io::stdout().write_all(line.as_bytes()),
        };
    }

    /// One request was answered.
    pub(crate) fn count(&self) {
        self.inner().requests += 1;
    }

    /// One line of metrics: a few of the groups, with Firecracker's names.
    pub(crate) fn flush_metrics(&self) {
        let mut inner = self.inner();
        let requests = inner.requests;
        let Some(file) = &mut inner.metrics else { return };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = json!({
            "utc_timestamp_ms": u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            "api_server": {"process_startup_time_us": 0, "process_startup_time_cpu_us": 0},
            "balloon": {"activate_fails": 0, "inflate_count": 0, "stats_updates_count": 0, "deflate_count": 0},
            "block": {"activate_fails": 0, "read_bytes": 0, "write_bytes": 0, "read_count": 0, "write_count": 0,
                "rate_limiter_throttled_events": 0},
            "logger": {"missed_metrics_count": 0, "metrics_fails": 0, "missed_log_count": 0},
            "net": {"rx_bytes_count": 0, "tx_bytes_count": 0, "rx_rate_limiter_throttled": 0,
                "tx_rate_limiter_throttled": 0},
            "put_api_requests": {"actions_count": requests, "actions_fails": 0},
            "seccomp": {"num_faults": 0},
            "signals": {"sigbus": 0, "sigsegv": 0},
            "vmm": {"panic_count": 0},
            "vsock": {"activate_fails": 0, "rx_bytes_count": 0, "tx_bytes_count": 0},
        });
        let _ = file.write_all(format!("{line}\n").as_bytes());
    }

    /// Writes metrics now and then, for ever.
    pub(crate) fn start_metrics(&self) -> io::Result<()> {
        let outputs = self.clone();
        std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            loop {
                outputs.flush_metrics();
                std::thread::sleep(METRICS_EVERY);
            }
        })?;
        Ok(())
    }
}

/// For reading as well, so that a pipe can be opened before its reader.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
}

/// `2026-11-24T04:09:57.346489881`, in UTC.
fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:09}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        since.subsec_nanos()
    )
}

/// The Gregorian date of a day since 1970, by Howard Hinnant's `civil_from_days`.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (year + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right_around_leap_days() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(date(20_781), (2026, 11, 24));
    }
}
