//! The requests that came.

use std::time::Instant;

/// So many are kept, the last ones.
const KEPT: usize = 200_000;

/// A request that came, one that met a fault included.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Such as `GET`.
    pub method: String,
    /// Without the fake's prefix, such as `/api/v1/version`.
    pub path: String,
    /// As it came, without `?`; decoded and joined with `&`.
    pub query: String,
    /// When.
    pub at: Instant,
}

#[derive(Debug, Default)]
pub(in super::super) struct Log {
    pub(in super::super) seen: Vec<Seen>,
    pub(in super::super) total: u64,
}

impl Log {
    pub(in super::super) fn note(&mut self, method: &str, path: &str, query: &[(String, String)]) {
        let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if self.seen.len() >= KEPT {
            self.seen.drain(..KEPT / 2);
        }
        self.total += 1;
        self.seen.push(Seen {
            method: method.into(),
            path: path.into(),
            query: query.join("&"),
            at: Instant::now(),
        });
    }
}
