//! What GitHub says of its rate limits in an answer's headers.

use std::time::Duration;

use fireactions_http::plain;
use fireactions_http::times::{now, retry_after};
use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;

/// What to wait after a secondary limit that says no time; doubled while it goes on.
pub(crate) const SECONDARY: Duration = Duration::from_secs(60);
/// A limit's window is an hour; whatever the header says, nobody waits longer than this.
pub(crate) const RESET_MAX: Duration = Duration::from_secs(2 * 3600);
/// The limit that most of the API counts in.
pub(crate) const CORE: &str = "core";

/// A rate limit.
pub(crate) struct Quota {
    pub resource: String,
    pub limit: u64,
    pub remaining: u64,
    pub reset_at: Option<Timestamp>,
    /// By GitHub's own clock.
    pub reset_in: Duration,
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The rate limit that the call counted in.
pub(crate) fn quota(headers: &HeaderMap) -> Option<Quota> {
    let number = |name| text(headers, name)?.trim().parse::<i64>().ok();
    let remaining = u64::try_from(number("x-ratelimit-remaining")?).ok()?;
    let reset = number("x-ratelimit-reset");
    // A second more: both clocks are cut to seconds.
    let seconds = reset.map_or(0, |reset| reset.saturating_sub(now(headers)).saturating_add(1));
    Some(Quota {
        resource: plain(text(headers, "x-ratelimit-resource").unwrap_or(CORE)).chars().take(64).collect(),
        limit: number("x-ratelimit-limit").and_then(|limit| u64::try_from(limit).ok()).unwrap_or(0),
        remaining,
        reset_at: reset.and_then(|reset| Timestamp::from_second(reset).ok()),
        reset_in: Duration::from_secs(u64::try_from(seconds).unwrap_or(0).max(1)).min(RESET_MAX),
    })
}

/// Whether an answer is a rate limit's: how long to wait at least, and whether it is a secondary one. `message` is what
/// its body says.
pub(crate) fn refusal(
    status: StatusCode,
    headers: &HeaderMap,
    message: impl FnOnce() -> String,
) -> Option<(Duration, bool)> {
    if !matches!(status, StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS) {
        return None;
    }
    let quota = quota(headers);
    let exhausted = quota.as_ref().is_some_and(|quota| quota.remaining == 0);
    if let Some(after) = retry_after(headers) {
        return Some((after.max(Duration::from_secs(1)), !exhausted));
    }
    if let Some(quota) = quota.filter(|_| exhausted) {
        return Some((quota.reset_in, false));
    }
    let message = message().to_ascii_lowercase();
    let is_limit = status == StatusCode::TOO_MANY_REQUESTS
        || message.contains("rate limit")
        || message.contains("abuse detection");
    is_limit.then_some((SECONDARY, true))
}
