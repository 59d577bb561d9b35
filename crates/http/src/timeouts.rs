//! How long a call to a forge may take.

use std::time::Duration;

/// How long a call may take, and how often it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// One request with its whole answer.
    pub request: Duration,
    /// All tries of a call, with the waits between them and those that a rate limit asks for. A list has this for each
    /// of its pages.
    pub total: Duration,
    /// Tries of a call that may be repeated.
    pub attempts: u32,
    /// The longest wait before the second try; doubled from one to the next.
    pub backoff: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(20),
            total: Duration::from_secs(60),
            attempts: 5,
            backoff: Duration::from_millis(500),
        }
    }
}
