//! How much a guest may say unasked.

use std::time::Instant;

use crate::limits::{CONTROL_BURST, CONTROL_PER_SECOND};

/// A bucket of tokens for everything that no request of ours bounds.
#[derive(Debug)]
pub(super) struct Rate {
    tokens: f64,
    at: Instant,
}

impl Default for Rate {
    fn default() -> Self {
        Self { tokens: f64::from(CONTROL_BURST), at: Instant::now() }
    }
}

impl Rate {
    /// One token for a message and one more for each KiB of it. The error is the rule that was broken, for people.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), String> {
        let price = f64::from(u32::try_from(1 + bytes / 1024).unwrap_or(u32::MAX));
        let now = Instant::now();
        let earned = now.duration_since(self.at).as_secs_f64() * f64::from(CONTROL_PER_SECOND);
        self.tokens = (self.tokens + earned).min(f64::from(CONTROL_BURST));
        self.at = now;
        if self.tokens < price {
            return Err(format!("more than {CONTROL_PER_SECOND} unasked messages (of 1 KiB) a second"));
        }
        self.tokens -= price;
        Ok(())
    }
}
