//! The serial console.

use serde::Serialize;

use super::request::{Method, Request};
use super::{ApiError, Feature, TokenBucket, Version};

/// `PUT /serial`: where the guest's serial port goes instead of Firecracker's standard output. Before the start only.
/// Since [`Feature::Serial`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Serial {
    /// An existing file or named pipe.
    pub serial_out_path: String,
    /// Bytes that the guest may write; what is more is dropped and counted. Since [`Feature::SerialRateLimiter`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limiter: Option<TokenBucket>,
}

impl Request for Serial {
    type Answer = ();
    const METHOD: Method = Method::Put;

    fn path(&self) -> String {
        "/serial".into()
    }

    fn check(&self, version: Version) -> Result<(), ApiError> {
        version.require(Feature::Serial)?;
        version.require_if(self.rate_limiter.is_some(), Feature::SerialRateLimiter)
    }
}
