//! How much a guest may say unasked.

use tokio::time::Instant;

use crate::limits::{CONTROL_BURST, CONTROL_PER_SECOND, LOG_BURST, LOG_PER_SECOND};

/// A bucket of tokens.
#[derive(Debug)]
struct Bucket {
    burst: f64,
    per_second: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn full(burst: u32, per_second: u32) -> Self {
        let (burst, per_second) = (f64::from(burst), f64::from(per_second));
        Self { burst, per_second, tokens: burst, at: Instant::now() }
    }

    /// Whether there are that many.
    fn take(&mut self, price: f64) -> bool {
        let now = Instant::now();
        let earned = now.duration_since(self.at).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + earned).min(self.burst);
        self.at = now;
        let enough = self.tokens >= price;
        if enough {
            self.tokens -= price;
        }
        enough
    }
}

/// Bounds everything that no request of ours does.
#[derive(Debug)]
pub(super) struct Rate(Bucket);

impl Default for Rate {
    fn default() -> Self {
        Self(Bucket::full(CONTROL_BURST, CONTROL_PER_SECOND))
    }
}

impl Rate {
    /// One token for a message and one more for each KiB of it. The error is the rule that was broken, for people.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), String> {
        let price = f64::from(u32::try_from(1 + bytes / 1024).unwrap_or(u32::MAX));
        if self.0.take(price) {
            return Ok(());
        }
        Err(format!("more than {CONTROL_PER_SECOND} unasked messages (of 1 KiB) a second"))
    }
}

/// Bounds the lines for the host's log, which all guests share with the server's own.
#[derive(Debug)]
pub(super) struct LogRate {
    bucket: Bucket,
    dropped: u64,
}

impl Default for LogRate {
    fn default() -> Self {
        Self { bucket: Bucket::full(LOG_BURST, LOG_PER_SECOND), dropped: 0 }
    }
}

impl LogRate {
    /// Whether one more line is kept, and then how many were not since the last one that was.
    pub(super) fn keep(&mut self) -> Option<u64> {
        if self.bucket.take(1.0) {
            return Some(std::mem::take(&mut self.dropped));
        }
        self.dropped += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_guest_that_talks_into_the_log_is_kept_short_and_what_is_missing_is_counted() {
        let mut rate = LogRate::default();
        let kept = (0..1_000).filter(|_| rate.keep() == Some(0)).count();
        assert_eq!(kept, LOG_BURST as usize);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(rate.keep(), Some(1_000 - u64::from(LOG_BURST)));
        assert_eq!((rate.keep(), rate.keep()), (Some(0), None));
    }
}
