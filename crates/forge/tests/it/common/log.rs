//! What the process logs, to be looked at.

use std::sync::OnceLock;

use fireactions_testkit::written::Written;

/// What this process logs from the first [`Log::start`] on, for all of its tests.
#[derive(Clone, Default)]
pub(crate) struct Log(Written);

impl Log {
    pub(crate) fn start() -> Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        let start = || {
            let log = Self::default();
            let writer = log.0.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                .with_ansi(false)
                .with_writer(move || writer.clone())
                .finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
            log
        };
        LOG.get_or_init(start).clone()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.bytes()
    }

    pub(crate) fn has(&self, words: &str) -> bool {
        String::from_utf8_lossy(&self.bytes()).contains(words)
    }
}
