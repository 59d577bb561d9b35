//! Rate limits, and answers that did not change.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::FakeGithub;
use super::http::{Ask, Reply};
use super::state::State;

/// What an installation has an hour.
const LIMIT: u64 = 5000;

#[derive(Debug, Default)]
pub(super) struct Limits {
    limit: Option<u64>,
    windows: BTreeMap<String, Window>,
    /// Points of the requests of the last minute.
    minute: VecDeque<(Instant, u64)>,
    most: u64,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    used: u64,
    /// Seconds since the epoch.
    reset: i64,
}

impl State {
    fn window(&mut self, payer: &str) -> &mut Window {
        let now = self.clock.now().as_second();
        let fresh = Window { used: 0, reset: now + 3600 };
        let window = self.limits.windows.entry(payer.to_owned()).or_insert(fresh);
        if window.reset <= now {
            *window = fresh;
        }
        window
    }

    fn limit(&self) -> u64 {
        self.limits.limit.unwrap_or(LIMIT)
    }

    /// Counts a request's points: GitHub lets a client have 900 a minute, of which a GET costs one and a change five.
    pub(super) fn count_points(&mut self, method: &str) {
        let now = Instant::now();
        let minute = &mut self.limits.minute;
        minute.push_back((now, if matches!(method, "GET" | "HEAD") { 1 } else { 5 }));
        while minute.front().is_some_and(|(when, _)| now - *when > Duration::from_secs(60)) {
            minute.pop_front();
        }
        self.limits.most = self.limits.most.max(minute.iter().map(|(_, points)| points).sum());
    }

    /// The answer to a payer who has used up the limit.
    pub(super) fn exceeded(&mut self, payer: &str) -> Option<Reply> {
        let limit = self.limit();
        let message = format!("API rate limit exceeded for {payer}.");
        (self.window(payer).used >= limit).then(|| Reply::error(403, &message))
    }

    /// Counts an answer against the limit (a 304 and a look at the limit are free), and says how it stands.
    pub(super) fn charge(&mut self, payer: &str, reply: Reply, free: bool) -> Reply {
        let limit = self.limit();
        let window = self.window(payer);
        if !free && reply.status != 304 {
            window.used = (window.used + 1).min(limit);
        }
        let Window { used, reset } = *window;
        reply
            .header("x-ratelimit-limit", &limit.to_string())
            .header("x-ratelimit-remaining", &(limit - used).to_string())
            .header("x-ratelimit-used", &used.to_string())
            .header("x-ratelimit-reset", &reset.to_string())
            .header("x-ratelimit-resource", "core")
    }

    pub(super) fn rate_limit(&mut self, payer: &str) -> Value {
        let limit = self.limit();
        let Window { used, reset } = *self.window(payer);
        let core = json!({"limit": limit, "used": used, "remaining": limit - used, "reset": reset});
        let search = json!({"limit": 30, "used": 0, "remaining": 30, "reset": reset});
        json!({"resources": {"core": core, "search": search}, "rate": core})
    }
}

/// Gives an answer its tag; one that the client has already becomes a 304.
pub(super) fn tagged(ask: &Ask, reply: Reply) -> Reply {
    if ask.method != "GET" || reply.status != 200 {
        return reply;
    }
    let tag = format!("W/\"{}\"", crate::kept::hex(&Sha256::digest(&reply.body)));
    let known = ask.header("if-none-match").is_some_and(|tags| tags.split(", ").any(|one| one == tag));
    let mut reply = reply.header("etag", &tag);
    if known {
        reply.status = 304;
        reply.body.clear();
        reply.headers.retain(|(name, _)| name != "content-type");
    }
    reply
}

impl FakeGithub {
    /// Everyone has so many requests an hour.
    pub fn set_rate_limit(&self, limit: u64) {
        self.shared.with(|state| state.limits.limit = Some(limit));
    }

    /// The most points that the requests of any minute came to; GitHub's secondary limit is 900.
    pub fn most_points_a_minute(&self) -> u64 {
        self.shared.with(|state| state.limits.most)
    }

    /// Everyone who has asked for something has no request left until `reset_in` from now.
    pub fn exhaust_rate_limit(&self, reset_in: Duration) {
        self.shared.with(|state| {
            let limit = state.limit();
            let reset =
                state.clock.now().as_second() + i64::try_from(reset_in.as_secs()).unwrap_or(i64::MAX / 2);
            state.limits.windows.values_mut().for_each(|window| *window = Window { used: limit, reset });
        });
    }
}
