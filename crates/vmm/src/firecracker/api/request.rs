//! What every request has in common.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{ApiError, Version};

/// Longest body that Firecracker accepts, in bytes, unless its `--http-api-max-payload-size` says otherwise. The
/// contents of the metadata service are bound by the same number.
pub const MAX_BODY: usize = 51_200;

/// Longest identifier of a device; Firecracker itself takes any that fits into a request line of 1024 bytes.
const MAX_ID: usize = 64;

/// HTTP methods of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads; never has a body.
    Get,
    /// Creates or replaces; always has a body.
    Put,
    /// Changes what is named and leaves the rest; always has a body.
    Patch,
    /// Removes; never has a body.
    Delete,
}

impl Method {
    /// `GET`, `PUT`, …
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Whether a request of this method has a body.
    pub const fn has_body(self) -> bool {
        matches!(self, Self::Put | Self::Patch)
    }
}

/// One request of the API. What serde makes of it is its body, if its method has one.
pub trait Request: Serialize {
    /// What a successful answer's body holds; `()` when there is none.
    type Answer: DeserializeOwned;

    /// Its method.
    const METHOD: Method;

    /// Its path, from the first slash on.
    fn path(&self) -> String;

    /// Whether this version of Firecracker can be asked this, and whether the values are in range.
    fn check(&self, version: Version) -> Result<(), ApiError> {
        let _ = version;
        Ok(())
    }

    /// Method and path, as messages name a request.
    fn name(&self) -> String {
        format!("{} {}", Self::METHOD.name(), self.path())
    }

    /// An [`ApiError::Invalid`] of this request.
    fn invalid(&self, reason: impl Into<String>) -> ApiError {
        ApiError::Invalid { request: self.name(), reason: reason.into() }
    }

    /// Checks the identifier of a device, which is also the last part of the path.
    fn check_id(&self, id: &str) -> Result<(), ApiError> {
        let fits =
            (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if fits {
            return Ok(());
        }
        let reason = "an identifier has 1 to 64 ASCII letters, digits and underscores";
        // The name of the request would hold the bad identifier, whatever is in it.
        let shown = super::text::line(&id.chars().take(MAX_ID).collect::<String>());
        Err(ApiError::Invalid {
            request: format!("{} of device '{shown}'", Self::METHOD.name()),
            reason: reason.into(),
        })
    }
}
