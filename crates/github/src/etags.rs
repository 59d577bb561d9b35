//! Answers that are asked for again only if they have changed. An answer 304 costs nothing of the rate limit
//! (<https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api>).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use fireactions_http::Response;
use reqwest::StatusCode;
use reqwest::header::{ETAG, LINK};

/// Most bytes of bodies that are kept.
const MAX_BYTES: usize = 32 << 20;
/// Most answers that are kept.
const MAX_ENTRIES: usize = 4096;

#[derive(Default)]
pub(crate) struct Etags {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// By credential and URL: what one may see another may not.
    answers: HashMap<(String, String), Answer>,
    bytes: usize,
    /// Counts uses.
    clock: u64,
}

struct Answer {
    etag: String,
    link: Option<reqwest::header::HeaderValue>,
    body: Bytes,
    used: u64,
}

impl Answer {
    fn size(&self) -> usize {
        self.body.len() + self.etag.len()
    }
}

impl Etags {
    /// The tag of the answer that is kept.
    pub(crate) fn tag(&self, credential: &str, url: &str) -> Option<String> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.answers.get(&(credential.to_owned(), url.to_owned())).map(|answer| answer.etag.clone())
    }

    /// Keeps a new answer; turns 304 into the answer that is kept. Anything else passes as it is. None when 304 is the
    /// answer and what it stands for is kept no more.
    pub(crate) fn settle(&self, credential: &str, url: &str, mut response: Response) -> Option<Response> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clock += 1;
        let used = kept.clock;
        let key = (credential.to_owned(), url.to_owned());
        match response.status {
            StatusCode::NOT_MODIFIED => {
                let answer = kept.answers.get_mut(&key)?;
                answer.used = used;
                response.status = StatusCode::OK;
                response.body = answer.body.clone();
                if let Some(link) = answer.link.clone() {
                    response.headers.insert(LINK, link);
                }
            }
            StatusCode::OK => {
                let etag = response.header(ETAG.as_str()).filter(|tag| tag.len() <= 256).map(str::to_owned);
                kept.remove(&key);
                if let Some(etag) = etag.filter(|_| response.body.len() <= MAX_BYTES / 8) {
                    let link = response.headers.get(LINK).cloned();
                    // A copy: what is kept must not hold a larger buffer.
                    let body = Bytes::copy_from_slice(&response.body);
                    kept.insert(key, Answer { etag, link, body, used });
                }
            }
            _ => {}
        }
        Some(response)
    }
}

impl Kept {
    fn remove(&mut self, key: &(String, String)) {
        if let Some(answer) = self.answers.remove(key) {
            self.bytes -= answer.size();
        }
    }

    fn insert(&mut self, key: (String, String), answer: Answer) {
        while self.answers.len() >= MAX_ENTRIES || self.bytes + answer.size() > MAX_BYTES {
            let oldest =
                self.answers.iter().min_by_key(|(_, answer)| answer.used).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { return };
            self.remove(&oldest);
        }
        self.bytes += answer.size();
        self.answers.insert(key, answer);
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::*;

    fn answer(status: u16, etag: Option<&str>, size: usize) -> Response {
        let mut headers = HeaderMap::new();
        if let Some(etag) = etag {
            headers.insert(ETAG, etag.parse().unwrap());
            headers.insert(LINK, "<https://x>; rel=\"next\"".parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        Response::new("t", status, headers, vec![b'x'; size].into())
    }

    #[test]
    fn not_modified_is_the_answer_that_was_kept() {
        let etags = Etags::default();
        assert_eq!(etags.tag("a", "u"), None);
        etags.settle("a", "u", answer(200, Some("\"1\""), 7)).unwrap();
        assert_eq!(etags.tag("a", "u").as_deref(), Some("\"1\""));
        assert_eq!(etags.tag("b", "u"), None);
        let again = etags.settle("a", "u", answer(304, None, 0)).unwrap();
        assert_eq!((again.status, again.body.len()), (StatusCode::OK, 7));
        assert!(again.header("link").is_some());
        assert!(etags.settle("b", "u", answer(304, None, 0)).is_none());
        // An answer without a tag takes the old one's place.
        etags.settle("a", "u", answer(200, None, 7)).unwrap();
        assert_eq!(etags.tag("a", "u"), None);
        assert_eq!(etags.kept.lock().unwrap().bytes, 0);
    }

    #[test]
    fn memory_is_bounded_and_the_least_used_goes_first() {
        let etags = Etags::default();
        for n in 0..MAX_ENTRIES {
            etags.settle("a", &n.to_string(), answer(200, Some("t"), 1)).unwrap();
        }
        etags.settle("a", "0", answer(304, None, 0)).unwrap();
        etags.settle("a", "new", answer(200, Some("t"), 1)).unwrap();
        assert!(etags.tag("a", "0").is_some() && etags.tag("a", "1").is_none());
        for n in 0..20 {
            etags.settle("a", &format!("large {n}"), answer(200, Some("t"), MAX_BYTES / 8)).unwrap();
        }
        etags.settle("a", "too large", answer(200, Some("t"), MAX_BYTES / 8 + 1)).unwrap();
        assert!(etags.tag("a", "too large").is_none() && etags.tag("a", "large 19").is_some());
        let kept = etags.kept.lock().unwrap();
        assert!(kept.bytes <= MAX_BYTES && kept.answers.len() <= 8, "{} {}", kept.bytes, kept.answers.len());
        assert_eq!(kept.bytes, kept.answers.values().map(Answer::size).sum::<usize>());
    }
}
