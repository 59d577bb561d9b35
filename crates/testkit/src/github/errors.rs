//! GitHub's words for what went wrong.

use serde_json::json;

use crate::http::Reply;

impl Reply {
    /// GitHub's errors.
    pub(super) fn error(status: u16, message: &str) -> Self {
        let body = json!({
            "message": message,
            "documentation_url": "https://docs.github.com/rest",
            "status": status.to_string(),
        });
        Self::json(status, &body)
    }

    /// GitHub's answer to what it understands and does not take.
    pub(super) fn invalid(errors: &[String]) -> Self {
        let body = json!({
            "message": "Validation Failed",
            "documentation_url": "https://docs.github.com/rest",
            "errors": errors,
        });
        Self::json(422, &body)
    }

    /// The answer to those who ask too fast.
    pub(super) fn secondary(retry_after: u64) -> Self {
        let message =
            "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
        let reply = Self::error(403, message).header("retry-after", &retry_after.to_string());
        reply.header("x-ratelimit-remaining", "4000")
    }
}
