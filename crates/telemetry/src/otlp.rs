//! OTLP's messages, as far as traces need them: `opentelemetry/proto` 1.x, and of `google/rpc` what says when to come again.
//! A test reads them with the published types.

use std::collections::BTreeMap;

use prost::Message;

use crate::attributes::{Attributes, Value};
use crate::trace::{Span, Status, Trace};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ExportRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<WireSpan>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct WireSpan {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, repeated, tag = "13")]
    links: Vec<WireLink>,
    #[prost(message, optional, tag = "15")]
    status: Option<WireStatus>,
}

#[derive(Clone, PartialEq, Message)]
struct WireLink {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct WireStatus {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "any_value::Value", tags = "1, 2, 3, 5")]
    value: Option<any_value::Value>,
}

mod any_value {
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(super) enum Value {
        #[prost(string, tag = "1")]
        Text(String),
        #[prost(bool, tag = "2")]
        Bool(bool),
        #[prost(int64, tag = "3")]
        Number(i64),
        #[prost(message, tag = "5")]
        Array(super::ArrayValue),
    }
}

#[derive(Clone, PartialEq, Message)]
struct ArrayValue {
    #[prost(message, repeated, tag = "1")]
    values: Vec<AnyValue>,
}

/// What a collector answers.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub(crate) rejected_spans: i64,
    #[prost(string, tag = "2")]
    pub(crate) error_message: String,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<Detail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Detail {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub(crate) retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Delay {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

/// `SPAN_KIND_INTERNAL`.
const INTERNAL: i32 = 1;
/// `STATUS_CODE_OK`.
const OK: i32 = 1;
/// `STATUS_CODE_ERROR`.
const ERROR: i32 = 2;

/// The message with which a collector is told of traces.
pub(crate) fn export(resource: &BTreeMap<String, String>, traces: &[Trace]) -> Vec<u8> {
    let attribute = |(key, value): (&String, &String)| KeyValue {
        key: key.clone(),
        value: Some(any_text(value.clone())),
    };
    let scope = Scope { name: "fireactions".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let spans = traces.iter().flat_map(|trace| trace.spans.iter().map(|one| span(trace, one))).collect();
    let request = ExportRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes: resource.iter().map(attribute).collect() }),
            scope_spans: vec![ScopeSpans { scope: Some(scope), spans }],
        }],
    };
    request.encode_to_vec()
}

fn span(trace: &Trace, span: &Span) -> WireSpan {
    let link = span.link.map(|link| WireLink { trace_id: link.trace.to_vec(), span_id: link.span.to_vec() });
    WireSpan {
        trace_id: trace.id.bytes().to_vec(),
        span_id: span.id.to_vec(),
        parent_span_id: span.parent.map(|id| id.to_vec()).unwrap_or_default(),
        name: span.name.clone(),
        kind: INTERNAL,
        start_time_unix_nano: span.start,
        end_time_unix_nano: span.end,
        attributes: attributes(&span.attributes),
        links: link.into_iter().collect(),
        status: span.status.as_ref().map(|status| match status {
            Status::Ok => WireStatus { message: String::new(), code: OK },
            Status::Error(why) => WireStatus { message: why.clone(), code: ERROR },
        }),
    }
}

fn attributes(all: &Attributes) -> Vec<KeyValue> {
    let value = |value: &Value| match value {
        Value::Text(text) => any_text(text.clone()),
        Value::Number(number) => any(any_value::Value::Number(*number)),
        Value::Bool(is) => any(any_value::Value::Bool(*is)),
        Value::Texts(texts) => {
            any(any_value::Value::Array(ArrayValue { values: texts.iter().cloned().map(any_text).collect() }))
        }
    };
    all.iter().map(|(key, one)| KeyValue { key: (*key).to_owned(), value: Some(value(one)) }).collect()
}

const fn any(value: any_value::Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

const fn any_text(text: String) -> AnyValue {
    any(any_value::Value::Text(text))
}
