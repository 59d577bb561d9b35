//! What Firecracker says of itself: its console, its log, its metrics. All of it may be a hostile guest's words.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::api::log::LogLine;
use super::api::metrics::Metrics;
use super::jail::Jail;
use crate::console::{BoundedFile, tail};
use crate::fifo::Reader;

/// Bytes of its log that are kept.
const LOG_MAX: u64 = 64 << 10;

/// Longest line of metrics that is read; real ones have some 20 KiB.
const METRICS_MAX: usize = 256 << 10;

/// How long the last words of a dead VMM may take to be copied.
const DRAIN_DEADLINE: Duration = Duration::from_secs(2);

/// Readers of a machine's FIFOs.
#[derive(Debug)]
pub(crate) struct Telemetry {
    readers: Mutex<Vec<Reader>>,
    metrics: Arc<Mutex<Metrics>>,
}

impl Telemetry {
    /// Begins to read. What cannot be read is said in the log and is no reason not to run the machine.
    pub(crate) fn open(jail: &Jail, console_max: u64, adopted: bool) -> Self {
        let metrics = Arc::<Mutex<Metrics>>::default();
        let sum = Arc::clone(&metrics);
        let mut line = Vec::new();
        let measured = Reader::open(&jail.metrics_fifo(), move |bytes| {
            for part in bytes.split_inclusive(|byte| *byte == b'\n') {
                if line.len() < METRICS_MAX {
                    line.extend_from_slice(part);
                }
                if part.ends_with(b"\n") {
                    if let Some(metrics) = Metrics::parse(&line) {
                        sum.lock().unwrap_or_else(PoisonError::into_inner).add(&metrics);
                    }
                    line.clear();
                }
            }
        });
        let into = |path: std::path::PathBuf, fifo: std::path::PathBuf, max| {
            let mut file = BoundedFile::open(&path, max)?;
            if adopted {
                file.write(b"\n[the server restarted; some output in between may not have been kept]\n")?;
            }
            let mut complained = false;
            Reader::open(&fifo, move |bytes| {
                if let Err(error) = file.write(bytes)
                    && !complained
                {
                    tracing::warn!(file = %path.display(), %error, "output of a machine is lost");
                    complained = true;
                }
            })
        };
        let console = into(jail.console(), jail.console_fifo(), console_max);
        let log = into(jail.log(), jail.log_fifo(), LOG_MAX);
        let opened = |(name, reader): (&str, io::Result<Reader>)| {
            reader.map_err(|error| tracing::warn!(%error, "a machine's {name} is not read")).ok()
        };
        let readers = [("console", console), ("log", log), ("metrics", measured)];
        Self { readers: Mutex::new(readers.into_iter().filter_map(opened).collect()), metrics }
    }

    /// The sum of the metrics so far. Firecracker writes them every minute and when it ends.
    pub(crate) fn metrics(&self) -> Metrics {
        *self.metrics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what a dead VMM has left.
    pub(crate) async fn drain(&self) {
        for reader in self.take() {
            reader.drain(DRAIN_DEADLINE).await;
        }
    }

    /// Stops reading, so that another server can.
    pub(crate) fn detach(&self) {
        drop(self.take());
    }

    fn take(&self) -> Vec<Reader> {
        std::mem::take(&mut *self.readers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The last messages of Firecracker's log, at most `max` bytes of it.
pub(crate) fn last_messages(jail: &Jail, max: u64) -> String {
    let bytes = tail(&jail.log(), max);
    let text = String::from_utf8_lossy(&bytes);
    let messages = text.lines().map(|line| LogLine::parse(line).message).filter(|line| !line.is_empty());
    messages.collect::<Vec<_>>().join("\n")
}

/// What the metrics tell of a machine that is in trouble, for people.
pub(crate) fn trouble(metrics: &Metrics) -> Option<String> {
    let said = [
        (metrics.seccomp_faults, "forbidden system calls"),
        (metrics.panics, "panics"),
        (metrics.vcpu_failures, "failures of its processors"),
        (metrics.block_failures, "failed disk operations"),
        (metrics.net_failures, "failed network operations"),
    ];
    let counted: Vec<String> =
        said.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    (!counted.is_empty()).then(|| format!("has counted {}", counted.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[tokio::test]
    async fn console_log_and_metrics_come_to_where_they_are_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        let id = fireactions_model::MachineId::from_random([4; 8]);
        let jail = Jail::new(dir.path(), std::path::Path::new("firecracker"), &id);
        jail.make(None).unwrap();
        let telemetry = Telemetry::open(&jail, 4096, false);
        let write = |path: &std::path::Path, text: &[u8]| {
            std::fs::File::options().read(true).write(true).open(path).unwrap().write_all(text).unwrap();
        };
        write(&jail.console_fifo(), b"hello from the guest\n");
        // As Firecracker does: by the name in the jail.
        write(&jail.path("log"), b"2026-11-24T04:07:29.5 [m:main:ERROR] no tap\n\n");
        let line =
            br#"{"utc_timestamp_ms":1,"vcpu":{"failures":2},"net":{"tx_bytes_count":5,"tap_read_fails":1}}"#;
        let (first, second) = line.split_at(20);
        write(&jail.path("metrics"), b"not JSON\n");
        write(&jail.path("metrics"), first);
        write(&jail.path("metrics"), &[second, b"\n", line, b"\n"].concat());
        telemetry.drain().await;
        assert_eq!(std::fs::read(jail.console()).unwrap(), b"hello from the guest\n");
        assert_eq!(last_messages(&jail, 4096), "no tap");
        let metrics = telemetry.metrics();
        assert_eq!((metrics.vcpu_failures, metrics.net_tx_bytes), (4, 10));
        assert_eq!(
            trouble(&metrics).as_deref(),
            Some("has counted 4 failures of its processors, 2 failed network operations")
        );
        assert_eq!(trouble(&Metrics::default()), None);
    }
}
