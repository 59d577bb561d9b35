//! Rate limits: what GitHub says of them is kept, and no request is sent that it has asked not to send
//! (<https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api>).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fireactions_http::Response;
use fireactions_model::RateLimit;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::response::Meaning as _;
use crate::said::{self, CORE, SECONDARY};

/// Longest such wait.
const SECONDARY_MAX: Duration = Duration::from_secs(1800);
/// Most limits that are kept; names come from the network.
const MAX: usize = 1024;

/// A wait that GitHub wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub after: Duration,
    pub secondary: bool,
}

#[derive(Default)]
pub(crate) struct Limits {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By credential and resource.
    windows: HashMap<(String, String), Window>,
    /// By credential: it counts for everything asked with it.
    secondary: HashMap<String, Secondary>,
    /// Which resource a kind of call counts in, as its last answer said.
    resources: HashMap<&'static str, String>,
}

struct Window {
    limit: u64,
    remaining: u64,
    reset_at: Option<Timestamp>,
    /// Set while nothing remains.
    blocked_until: Option<Instant>,
}

struct Secondary {
    until: Instant,
    /// Waits in a row for which GitHub said no time.
    streak: u32,
}

impl Limits {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what an answer to a call of this kind says. Returns the wait that it asks for when it is a refusal.
    pub(crate) fn note(&self, credential: &str, kind: &'static str, response: &Response) -> Option<Block> {
        self.note_at(credential, kind, response, Instant::now())
    }

    fn note_at(
        &self,
        credential: &str,
        kind: &'static str,
        response: &Response,
        now: Instant,
    ) -> Option<Block> {
        let mut state = self.state();
        let refused = response.refusal();
        if let Some(said) = said::quota(&response.headers) {
            state.resources.insert(kind, said.resource.clone());
            let exhausted = said.remaining == 0 || refused.is_some_and(|(_, secondary)| !secondary);
            let wait = refused.map_or(said.reset_in, |(after, _)| after.max(said.reset_in));
            let window = Window {
                limit: said.limit,
                remaining: said.remaining,
                reset_at: said.reset_at,
                blocked_until: exhausted.then(|| now + wait),
            };
            let key = (credential.to_owned(), said.resource);
            if state.windows.len() < MAX || state.windows.contains_key(&key) {
                state.windows.insert(key, window);
            }
        }
        match refused {
            None => {
                state.secondary.retain(|owner, block| owner != credential || block.until > now);
                None
            }
            Some((after, false)) => Some(Block { after, secondary: false }),
            Some((after, true)) => {
                let known = state.secondary.get(credential);
                let (until, streak) = known.map_or((now, 0), |known| (known.until, known.streak));
                let told = response.retry_after().is_some();
                // Requests that were on their way together are refused together: that is one refusal.
                let again = known.is_some() && now >= until;
                let streak = if !told && (again || known.is_none()) { streak + 1 } else { streak };
                let after = if told {
                    after
                } else {
                    (SECONDARY * 2_u32.saturating_pow(streak.saturating_sub(1).min(10))).min(SECONDARY_MAX)
                };
                let until = until.max(now + after);
                if state.secondary.len() < MAX || state.secondary.contains_key(credential) {
                    state.secondary.insert(credential.to_owned(), Secondary { until, streak });
                }
                Some(Block { after: until - now, secondary: true })
            }
        }
    }

    /// The wait before a call of this kind may be sent.
    pub(crate) fn blocked(&self, credential: &str, kind: &'static str) -> Option<Block> {
        self.blocked_at(credential, kind, Instant::now())
    }

    fn blocked_at(&self, credential: &str, kind: &'static str, now: Instant) -> Option<Block> {
        let state = self.state();
        let resource = state.resources.get(kind).map_or(CORE, String::as_str);
        let window = state.windows.get(&(credential.to_owned(), resource.to_owned()));
        let primary = window.and_then(|window| window.blocked_until);
        let secondary = state.secondary.get(credential).map(|block| block.until);
        let longest = [(primary, false), (secondary, true)]
            .into_iter()
            .filter_map(|(until, secondary)| Some((until?.checked_duration_since(now)?, secondary)))
            .max()?;
        let (after, secondary) = longest;
        (!after.is_zero()).then_some(Block { after, secondary })
    }

    /// All limits, for gauges.
    pub(crate) fn all(&self) -> Vec<RateLimit> {
        let (now, clock) = (Instant::now(), Timestamp::now());
        let state = self.state();
        let mut all: Vec<RateLimit> = state
            .windows
            .iter()
            .map(|((credential, resource), window)| {
                let secondary = state.secondary.get(credential).map(|block| block.until);
                let until = window.blocked_until.max(secondary).and_then(|u| u.checked_duration_since(now));
                let until = until.filter(|left| !left.is_zero());
                let at = |left: Duration| clock.checked_add(SignedDuration::try_from(left).ok()?).ok();
                RateLimit {
                    credential: credential.clone(),
                    resource: resource.clone(),
                    limit: window.limit,
                    remaining: window.remaining,
                    reset_at: window.reset_at,
                    blocked_until: until.and_then(at),
                }
            })
            .collect();
        all.sort_by(|a, b| (&a.credential, &a.resource).cmp(&(&b.credential, &b.resource)));
        all
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;
    use reqwest::header::HeaderMap;

    use super::*;
    use crate::said::RESET_MAX;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    /// 08:59:37.
    const RESET: &str = "784112377";

    fn answer(status: u16, headers: &[(&'static str, &str)], message: &str) -> Response {
        let mut map: HeaderMap =
            headers.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect();
        map.insert("date", DATE.parse().unwrap());
        let body = format!("{{\"message\":\"{message}\"}}").into_bytes().into();
        Response::new("t", StatusCode::from_u16(status).unwrap(), map, body)
    }

    fn seconds(block: Option<Block>) -> Option<(u64, bool)> {
        block.map(|block| (block.after.as_secs(), block.secondary))
    }

    #[test]
    fn a_used_up_window_blocks_its_resource_until_its_reset_by_githubs_clock() {
        let (limits, now) = (Limits::default(), Instant::now());
        let headers = |remaining, resource| {
            [
                ("x-ratelimit-limit", "5000"),
                ("x-ratelimit-remaining", remaining),
                ("x-ratelimit-reset", RESET),
                ("x-ratelimit-resource", resource),
            ]
        };
        assert_eq!(limits.note_at("a", "runners", &answer(200, &headers("1", "core"), ""), now), None);
        assert_eq!(limits.blocked_at("a", "runners", now), None);
        // The last request that is allowed.
        assert_eq!(limits.note_at("a", "runners", &answer(200, &headers("0", "core"), ""), now), None);
        assert_eq!(seconds(limits.blocked_at("a", "runners", now)), Some((601, false)));
        let exceeded = answer(403, &headers("0", "core"), "API rate limit exceeded");
        assert_eq!(seconds(limits.note_at("a", "runners", &exceeded, now)), Some((601, false)));
        // Another credential, another resource and a later time are free.
        assert_eq!(limits.blocked_at("b", "runners", now), None);
        let other = answer(201, &headers("9", "actions_runner_registration"), "");
        assert_eq!(limits.note_at("a", "jit", &other, now), None);
        assert_eq!(limits.blocked_at("a", "jit", now), None);
        assert_eq!(limits.blocked_at("a", "runners", now + Duration::from_secs(601)), None);
        let all = limits.all();
        assert_eq!(all.len(), 2);
        assert_eq!((all[1].resource.as_str(), all[1].limit, all[1].remaining), ("core", 5000, 0));
        assert_eq!(all[1].reset_at, Some("1994-11-06T08:59:37Z".parse().unwrap()));
        assert!(all[1].blocked_until.unwrap() > Timestamp::now() && all[0].blocked_until.is_none());
    }

    #[test]
    fn a_secondary_limit_blocks_the_credential_for_as_long_as_it_says() {
        let (limits, now) = (Limits::default(), Instant::now());
        let told = answer(429, &[("retry-after", "7"), ("x-ratelimit-remaining", "4000")], "slow");
        assert_eq!(seconds(limits.note_at("a", "runs", &told, now)), Some((7, true)));
        for kind in ["runs", "jit"] {
            assert_eq!(seconds(limits.blocked_at("a", kind, now)), Some((7, true)));
        }
        assert_eq!(limits.blocked_at("a", "runs", now + Duration::from_secs(7)), None);
    }

    #[test]
    fn without_a_time_the_wait_is_a_minute_and_grows() {
        let limits = Limits::default();
        let mut now = Instant::now();
        let untold = answer(403, &[], "You have exceeded a secondary rate limit.");
        let mut waits = Vec::new();
        for _ in 0..7 {
            let block = limits.note_at("a", "runs", &untold, now).unwrap();
            // Others that were on their way at the same time make it no longer.
            assert_eq!(limits.note_at("a", "runs", &untold, now).unwrap(), block);
            waits.push(block.after.as_secs());
            now += block.after;
        }
        assert_eq!(waits, [60, 120, 240, 480, 960, 1800, 1800]);
        // Success in between begins anew.
        assert_eq!(limits.note_at("a", "runs", &answer(200, &[], ""), now), None);
        assert_eq!(seconds(limits.note_at("a", "runs", &untold, now)), Some((60, true)));
    }

    #[test]
    fn what_is_forbidden_is_no_limit() {
        let forbidden =
            answer(403, &[("x-ratelimit-remaining", "10")], "Resource not accessible by integration");
        assert_eq!(forbidden.refusal(), None);
        assert_eq!(answer(404, &[("retry-after", "1")], "rate limit").refusal(), None);
        // Absurd times are bounded.
        let far = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "9223372036854775807")];
        assert_eq!(answer(429, &far, "").refusal(), Some((RESET_MAX, false)));
        let past = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "-9223372036854775808")];
        assert_eq!(answer(429, &past, "").refusal(), Some((Duration::from_secs(1), false)));
    }
}
