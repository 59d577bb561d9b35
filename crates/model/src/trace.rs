//! Traces of jobs: under which number one is known, and how many were told.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::JobId;

/// The number of a trace, as W3C's Trace Context has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

impl TraceId {
    /// The bytes.
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl JobId {
    /// The job's trace. It follows from the id alone, so it is known before there is a trace, and it is the same whoever tells it
    /// and however often. It is spread evenly, as those who keep one trace of a hundred expect.
    pub fn trace_id(&self) -> TraceId {
        let mut id = [0; 16];
        id.copy_from_slice(&Sha256::digest(format!("fireactions job {self}"))[..16]);
        TraceId(id)
    }
}

/// How many traces came how far since the server's start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TraceCounts {
    /// Traces that the collector has taken.
    pub sent: u64,
    /// Traces that wait to be sent, or are on their way.
    pub waiting: u64,
    /// Traces that were dropped, by reason.
    pub dropped: Vec<(&'static str, u64)>,
    /// Spans that the collector did not want, of what it has taken.
    pub rejected_spans: u64,
    /// Requests that came to nothing, also those that were repeated.
    pub failures: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_has_the_same_trace_in_every_version() {
        let trace = |id: &str| JobId::new(id).unwrap().trace_id().to_string();
        assert_eq!(trace("j0123456789"), "afef72a142e97cdc61b5889352baa8a7");
        assert_ne!(trace("j0123456789"), trace("j012345678a"));
    }
}
