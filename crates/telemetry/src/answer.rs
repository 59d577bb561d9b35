//! What a collector's answer means, as OTLP's specification has it.

use std::time::Duration;

use fireactions_http::{Response, plain, times};
use prost::Message as _;

use crate::grpc;
use crate::otlp::{ExportResponse, RpcStatus};

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The collector has them.
    Taken,
    /// The collector has them, but for so many spans that it did not want.
    Partly {
        /// Spans.
        rejected: u64,
        /// Its words.
        why: String,
    },
    /// The same request may do later.
    Later {
        /// At the earliest, if the collector has said so.
        after: Option<Duration>,
        /// What was wrong.
        why: String,
    },
    /// It will never do.
    Never(String),
}

/// What an answer by HTTP means.
pub(crate) fn of_http(response: &Response) -> Answer {
    let status = response.status.as_u16();
    if (200..300).contains(&status) {
        return taken(&response.body);
    }
    let said =
        RpcStatus::decode(response.body.as_ref()).map(|status| plain(&status.message)).unwrap_or_default();
    let why = if said.is_empty() { format!("status {status}") } else { format!("status {status}: {said}") };
    let after = times::retry_after(&response.headers);
    if is_passing(status) { Answer::Later { after, why } } else { Answer::Never(why) }
}

/// Statuses of HTTP after which a request may do later.
const fn is_passing(status: u16) -> bool {
    matches!(status, 429 | 502 | 503 | 504)
}

/// What an answer by gRPC means.
pub(crate) fn of_grpc(response: &Response) -> Answer {
    let Some(status) = grpc::status(response) else {
        let status = response.status.as_u16();
        let why = format!("status {status} without gRPC's: is the endpoint the collector's gRPC port?");
        let after = times::retry_after(&response.headers);
        return if is_passing(status) { Answer::Later { after, why } } else { Answer::Never(why) };
    };
    let why = format!("gRPC status {}: {}", status.code, status.message);
    match status.code {
        0 => match grpc::message(&response.body) {
            Some(message) => taken(message),
            None => Answer::Never("the answer is not gRPC's".to_owned()),
        },
        // Cancelled, deadline exceeded, aborted, out of range, unavailable, data loss.
        1 | 4 | 10 | 11 | 14 | 15 => Answer::Later { after: status.after, why },
        // Exhausted: for good, unless it says when to come again.
        8 if status.after.is_some() => Answer::Later { after: status.after, why },
        _ => Answer::Never(why),
    }
}

/// A collector that says something else than the protocol has still said that it has them.
fn taken(message: &[u8]) -> Answer {
    let partly = ExportResponse::decode(message).ok().and_then(|answer| answer.partial_success);
    match partly {
        Some(partly) if partly.rejected_spans > 0 => Answer::Partly {
            rejected: partly.rejected_spans.unsigned_abs(),
            why: plain(&partly.error_message),
        },
        _ => Answer::Taken,
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    use bytes::Bytes;
    use reqwest::StatusCode;
    use reqwest::header::HeaderMap;

    use super::*;
    use crate::otlp::{Delay, Detail, PartialSuccess, RetryInfo};

    /// The collector does not say when.
    const WHENEVER: Duration = Duration::MAX;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn http(status: u16, fields: &[(&'static str, &str)], body: &[u8]) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        of_http(&Response::new("t", status, headers(fields), Bytes::copy_from_slice(body)))
    }

    fn grpc(trailers: &[(&'static str, &str)], body: &[u8]) -> Answer {
        let body = grpc::framed(body);
        let answer = Response::new("t", StatusCode::OK, HeaderMap::new(), body);
        of_grpc(&Response { trailers: headers(trailers), ..answer })
    }

    /// When to come again, if at all.
    fn later(answer: &Answer) -> Option<Duration> {
        match answer {
            Answer::Later { after, .. } => Some(after.unwrap_or(WHENEVER)),
            _ => None,
        }
    }

    fn partly() -> Vec<u8> {
        let partial_success = PartialSuccess { rejected_spans: 3, error_message: "too\told".into() };
        ExportResponse { partial_success: Some(partial_success) }.encode_to_vec()
    }

    #[test]
    fn answers_by_http() {
        assert_eq!(http(200, &[], b""), Answer::Taken);
        assert_eq!(http(202, &[], b"{}"), Answer::Taken);
        assert_eq!(http(200, &[], &partly()), Answer::Partly { rejected: 3, why: "too old".into() });
        for status in [429, 502, 503, 504] {
            assert_eq!(later(&http(status, &[], b"")), Some(WHENEVER));
            let asked = http(status, &[("retry-after", "7")], b"");
            assert_eq!(later(&asked), Some(Duration::from_secs(7)));
        }
        for status in [302, 400, 401, 404, 413, 500] {
            assert_eq!(http(status, &[("retry-after", "7")], b""), Answer::Never(format!("status {status}")));
        }
        let said = RpcStatus { code: 3, message: "bad\x1b[31m data".into(), details: vec![] }.encode_to_vec();
        assert_eq!(http(400, &[], &said), Answer::Never("status 400: bad [31m data".into()));
    }

    #[test]
    fn answers_by_grpc() {
        assert_eq!(grpc(&[("grpc-status", "0")], b""), Answer::Taken);
        assert_eq!(
            grpc(&[("grpc-status", "0")], &partly()),
            Answer::Partly { rejected: 3, why: "too old".into() }
        );
        for code in ["1", "4", "10", "11", "14", "15"] {
            assert_eq!(later(&grpc(&[("grpc-status", code)], b"")), Some(WHENEVER), "{code}");
        }
        let never = grpc(&[("grpc-status", "16"), ("grpc-message", "no%20token%2")], b"");
        assert_eq!(never, Answer::Never("gRPC status 16: no token%2".into()));
        assert_eq!(later(&grpc(&[("grpc-status", "8")], b"")), None);
        let delay = RetryInfo { retry_delay: Some(Delay { seconds: 3, nanos: 500_000_000 }) };
        let url = "type.googleapis.com/google.rpc.RetryInfo".to_owned();
        let details = vec![Detail { type_url: url, value: delay.encode_to_vec() }];
        let status = RpcStatus { code: 8, message: String::new(), details }.encode_to_vec();
        let details = STANDARD_NO_PAD.encode(status);
        for code in ["8", "14"] {
            let asked = grpc(&[("grpc-status", code), ("grpc-status-details-bin", &details)], b"");
            assert_eq!(later(&asked), Some(Duration::from_millis(3500)));
        }
    }

    #[test]
    fn what_is_no_grpc_at_all() {
        let page = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            of_grpc(&Response::new("t", status, HeaderMap::new(), Bytes::from_static(b"<html>")))
        };
        assert!(matches!(page(404), Answer::Never(why) if why.contains("gRPC port")));
        assert_eq!(later(&page(503)), Some(WHENEVER));
        for body in [&b""[..], b"\0\0\0\0", b"\0\0\0\0\x02a", b"\x01\0\0\0\x01a"] {
            let answer = Response::new("t", StatusCode::OK, HeaderMap::new(), Bytes::from_static(body));
            let answer = of_grpc(&Response { trailers: headers(&[("grpc-status", "0")]), ..answer });
            assert!(matches!(answer, Answer::Never(_)), "{body:?}");
        }
    }
}
