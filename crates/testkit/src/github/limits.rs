//! Rate limits, and answers that did not change.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::FakeGithub;
use super::known::limits::Window;
use super::state::State;
use crate::http::{Ask, Reply};

/// What an installation has an hour.
const LIMIT: u64 = 5000;
/// What one client may ask in a minute: a GET costs a point, a change five.
const POINTS: (u64, Duration) = (900, Duration::from_secs(60));
/// What one client may ask at once.
const AT_ONCE: u64 = 100;

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

    /// Counts a request's points; the answer to one that is too many.
    pub(super) fn too_fast(&mut self, payer: &str, method: &str) -> Option<Reply> {
        let now = Instant::now();
        let (most, within) = self.limits.points.unwrap_or(POINTS);
        let cost = if matches!(method, "GET" | "HEAD") { 1 } else { 5 };
        let minute = self.limits.minutes.entry(payer.to_owned()).or_default();
        while minute.front().is_some_and(|(when, _)| now - *when > within) {
            minute.pop_front();
        }
        let before: u64 = minute.iter().map(|(_, points)| points).sum();
        if before + cost > most {
            let free = minute.front().map_or(within, |(when, _)| within.saturating_sub(now - *when));
            self.limits.refused += 1;
            return Some(Reply::secondary(free.as_secs() + 1));
        }
        minute.push_back((now, cost));
        self.limits.most = self.limits.most.max(before + cost);
        None
    }

    /// A request comes; the answer to one that is too many at once.
    pub(super) fn enter(&mut self, credential: &str) -> Option<Reply> {
        let under_way = self.limits.under_way.entry(credential.to_owned()).or_default();
        *under_way += 1;
        let over = *under_way > AT_ONCE;
        self.limits.refused += u64::from(over);
        over.then(|| Reply::secondary(60))
    }

    /// It has its answer, or its sender is gone.
    pub(super) fn leave(&mut self, credential: &str) {
        if let Some(under_way) = self.limits.under_way.get_mut(credential) {
            *under_way = under_way.saturating_sub(1);
        }
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

/// Whose request it is, for the limit of those at once.
pub(super) fn credential(ask: &Ask) -> String {
    ask.header("authorization").unwrap_or_default().to_owned()
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

    /// Everyone has so many points in any such time: GitHub's secondary limit, which is 900 a minute unless set.
    pub fn set_secondary_limit(&self, points: u64, within: Duration) {
        self.shared.with(|state| state.limits.points = Some((points, within)));
    }

    /// Requests that counted against somebody's limit of this hour: those whose answer had not changed do not.
    pub fn charged(&self) -> u64 {
        self.shared.with(|state| state.limits.windows.values().map(|window| window.used).sum())
    }

    /// The most points that one client's requests of any minute came to.
    pub fn most_points_a_minute(&self) -> u64 {
        self.shared.with(|state| state.limits.most)
    }

    /// Requests that met the secondary limit.
    pub fn refused_as_too_fast(&self) -> u64 {
        self.shared.with(|state| state.limits.refused)
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
