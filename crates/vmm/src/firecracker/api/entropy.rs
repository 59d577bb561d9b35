//! The guest's source of random numbers.

use serde::Serialize;

use super::RateLimiter;
use super::request::{Method, Request};

/// `PUT /entropy`: a virtio-rng device. Before the start only; a machine has one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Entropy {
    /// Limits of what the guest draws.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limiter: Option<RateLimiter>,
}

impl Request for Entropy {
    type Answer = ();
    const METHOD: Method = Method::Put;
    fn path(&self) -> String {
        "/entropy".into()
    }
}
