//! What an answer's headers say of time: the server's clock, and when it wants to be asked again.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// Longest wait by `Retry-After`.
const RETRY_MAX: u64 = 24 * 3600;

/// RFC 9110's date, as everybody writes it: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp())
}

/// When the server says it was: its clock, not ours.
pub fn date(headers: &HeaderMap) -> Option<Timestamp> {
    http_date(headers.get(DATE)?.to_str().ok()?)
}

/// The server's time, in seconds; ours where it says none.
pub fn now(headers: &HeaderMap) -> i64 {
    date(headers).unwrap_or_else(Timestamp::now).as_second()
}

/// How long the server wants not to be asked, by `Retry-After`: seconds or a date. At most a day.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = text.parse::<u64>().ok().or_else(|| {
        let until = http_date(text)?.as_second();
        Some(u64::try_from(until - now(headers)).unwrap_or(0))
    })?;
    Some(Duration::from_secs(seconds.min(RETRY_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn times_of_an_answer() {
        let at = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date(&headers(&[at])), Some("1994-11-06T08:49:37Z".parse().unwrap()));
        assert_eq!(date(&headers(&[("date", "soon")])), None);
        let after = |value| retry_after(&headers(&[at, ("retry-after", value)]));
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("Sun, 06 Nov 1994 08:50:37 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(after("Sun, 06 Nov 1994 08:40:37 GMT"), Some(Duration::ZERO));
        assert_eq!(after("99999999999"), Some(Duration::from_secs(86_400)));
        assert_eq!(after("-1"), None);
    }
}
