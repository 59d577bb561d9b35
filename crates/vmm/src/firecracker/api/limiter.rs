//! Rate limits of drives and network cards.

use serde::Serialize;

/// A budget that refills at a constant rate. Firecracker ignores one whose `size` or `refill_time` is 0: in a `PUT`
/// there is no limit then, and a `PATCH` lifts the limit there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TokenBucket {
    /// Tokens (bytes or operations) that it holds when full, at most 2^63-1.
    pub size: u64,
    /// Tokens on top that are there once, at the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_time_burst: Option<u64>,
    /// Milliseconds that it takes to refill when empty.
    pub refill_time: u64,
}

impl TokenBucket {
    /// No limit; lifts one when sent in an update.
    pub const OFF: Self = Self { size: 0, one_time_burst: None, refill_time: 0 };

    /// So many tokens a second, and never more than a tenth of a second's worth at once.
    pub const fn per_second(tokens: u64) -> Self {
        let size = tokens.div_ceil(10);
        // The spec's numbers are signed.
        let size = if size > i64::MAX as u64 { i64::MAX as u64 } else { size };
        Self { size, one_time_burst: None, refill_time: 100 }
    }
}

/// Limits of bytes and operations; what is absent is unlimited, or unchanged in an update.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RateLimiter {
    /// Tokens are bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<TokenBucket>,
    /// Tokens are operations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ops: Option<TokenBucket>,
}

impl RateLimiter {
    /// A network card's limit in Mbit/s (10^6 bits).
    pub const fn mbit(mbit: u32) -> Self {
        Self { bandwidth: Some(TokenBucket::per_second(mbit as u64 * 125_000)), ops: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_come_out_right() {
        let bucket = RateLimiter::mbit(1000).bandwidth.unwrap();
        assert_eq!(bucket.size * 1000 / bucket.refill_time, 125_000_000);
        assert_eq!(TokenBucket::per_second(3).size, 1);
        assert!(i64::try_from(TokenBucket::per_second(u64::MAX).size).is_ok());
    }
}
