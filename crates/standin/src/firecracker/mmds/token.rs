//! Session tokens of the metadata service.

use std::collections::HashMap;
use std::fmt::Write;
use std::io;
use std::time::{Duration, Instant};

/// The lifetimes that Firecracker gives, in seconds.
pub(crate) const LIFETIMES: std::ops::RangeInclusive<u32> = 1..=21_600;

/// Firecracker keeps no token: what it gives out is sealed with a key. Here they are kept, the ones with the longest time to
/// live, and no guest can fill the memory.
const KEPT_MAX: usize = 1024;

/// Random bytes in a token.
const LENGTH: usize = 24;

/// Why there is no token.
#[derive(Debug)]
pub(crate) enum NoToken {
    Lifetime(u32),
    Random(io::Error),
}

/// What was given out and has not expired. A clone has its own: no token of its template is known to it.
#[derive(Debug, Default)]
pub(crate) struct Tokens(HashMap<String, Instant>);

impl Tokens {
    /// A new token that is good for so many seconds.
    pub(crate) fn make(&mut self, seconds: u32, now: Instant) -> Result<String, NoToken> {
        if !LIFETIMES.contains(&seconds) {
            return Err(NoToken::Lifetime(seconds));
        }
        let mut bytes = [0; LENGTH];
        let read = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty());
        if read.map_err(|error| NoToken::Random(error.into()))? != LENGTH {
            return Err(NoToken::Random(io::ErrorKind::UnexpectedEof.into()));
        }
        let token = bytes.iter().fold(String::new(), |mut token, byte| {
            let _ = write!(token, "{byte:02x}");
            token
        });
        self.0.retain(|_, end| *end > now);
        if self.0.len() >= KEPT_MAX {
            let first = self.0.iter().min_by_key(|(_, end)| **end).map(|(token, _)| token.clone());
            first.and_then(|token| self.0.remove(&token));
        }
        self.0.insert(token.clone(), now + Duration::from_secs(seconds.into()));
        Ok(token)
    }

    pub(crate) fn is_valid(&self, token: &str, now: Instant) -> bool {
        self.0.get(token).is_some_and(|end| *end > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lives_for_its_time_and_there_are_not_too_many() {
        let mut tokens = Tokens::default();
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        for seconds in [0, 21_601] {
            let refused = tokens.make(seconds, now);
            assert!(matches!(refused, Err(NoToken::Lifetime(given)) if given == seconds), "{refused:?}");
        }
        let token = tokens.make(60, now).unwrap();
        assert!(tokens.is_valid(&token, after(59)));
        assert!(!tokens.is_valid(&token, after(60)));
        assert!(!tokens.is_valid("", now) && !Tokens::default().is_valid(&token, now));
        for _ in 0..KEPT_MAX {
            tokens.make(21_600, now).unwrap();
        }
        assert_eq!(tokens.0.len(), KEPT_MAX);
        assert!(!tokens.is_valid(&token, now));
    }
}
