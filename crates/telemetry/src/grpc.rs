//! gRPC's one call over HTTP/2: a message before which its length stands, and a status after the answer.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::{BufMut, Bytes, BytesMut};
use fireactions_http::{Response, plain};
use prost::Message as _;

use crate::otlp::{RetryInfo, RpcStatus};

/// The service and the method, as a path.
pub(crate) const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// A byte that says whether the message is compressed, and four with its length.
const HEAD: usize = 5;
/// A collector that wants more than this is asked again by our own pauses.
const LONGEST_DELAY: Duration = Duration::from_secs(24 * 3600);

/// A call's status.
pub(crate) struct CallStatus {
    pub(crate) code: i32,
    pub(crate) message: String,
    /// When to come again.
    pub(crate) after: Option<Duration>,
}

/// A message as it is sent.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEAD + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    frame.freeze()
}

/// The message of an answer; none where it is not one whole message as it is.
pub(crate) fn message(body: &[u8]) -> Option<&[u8]> {
    let (head, message) = body.split_at_checked(HEAD)?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    (head[0] == 0 && usize::try_from(length) == Ok(message.len())).then_some(message)
}

/// The status of a call. None where something between here and the collector has answered in its place, or no collector is there.
pub(crate) fn status(response: &Response) -> Option<CallStatus> {
    // A call that failed at once has its status among the headers.
    let field = |name: &str| {
        let value = response.trailers.get(name).or_else(|| response.headers.get(name))?;
        value.to_str().ok()
    };
    let code = field("grpc-status")?.trim().parse().ok()?;
    let message = field("grpc-message").map(unescaped).unwrap_or_default();
    Some(CallStatus {
        code,
        message: plain(&message),
        after: field("grpc-status-details-bin").and_then(delay),
    })
}

/// How long the collector wants not to be asked.
fn delay(details: &str) -> Option<Duration> {
    let bytes = STANDARD_NO_PAD.decode(details.trim_end_matches('=')).ok()?;
    let status = RpcStatus::decode(bytes.as_slice()).ok()?;
    let info = status.details.iter().find(|detail| detail.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay.unwrap_or_default();
    let seconds = Duration::from_secs(u64::try_from(delay.seconds).unwrap_or(0));
    let nanos = Duration::from_nanos(u64::try_from(delay.nanos).unwrap_or(0));
    Some(seconds.saturating_add(nanos).min(LONGEST_DELAY))
}

/// `grpc-message` has all but visible ASCII as `%XX`.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = after
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
