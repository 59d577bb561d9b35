//! The exporter and its collector.

use std::net::Ipv4Addr;
use std::time::Duration;

use fireactions_model::Secret;
use fireactions_telemetry::*;
use fireactions_testkit::certificate::{Authority, stranger};
use fireactions_testkit::port::ReservedPort;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use tokio_util::sync::CancellationToken;

use crate::collector::{Collector, Reply, until};
use crate::common::{BOTH, patience, settings, trace};

struct Sending {
    exporter: Exporter,
    counts: Counts,
    task: tokio::task::JoinHandle<()>,
    closing: CancellationToken,
}

fn start(settings: Settings, patience: Patience) -> Sending {
    let (counts, closing) = (Counts::default(), CancellationToken::new());
    let (exporter, task) = Exporter::start(settings, patience, counts.clone(), closing.clone()).unwrap();
    Sending { exporter, counts, task, closing }
}

impl Sending {
    fn dropped(&self, why: &str) -> u64 {
        self.counts.get().dropped.iter().find(|(reason, _)| *reason == why).unwrap().1
    }

    /// All that waits is sent.
    async fn end(self) -> fireactions_model::TraceCounts {
        drop(self.exporter);
        self.task.await.unwrap();
        self.counts.get()
    }
}

fn text(value: AnyValue) -> String {
    match value.value.unwrap() {
        any_value::Value::StringValue(text) => text,
        any_value::Value::IntValue(number) => number.to_string(),
        any_value::Value::BoolValue(is) => is.to_string(),
        any_value::Value::ArrayValue(list) => list.values.into_iter().map(text).collect::<Vec<_>>().join(","),
        other => panic!("{other:?}"),
    }
}

/// An attribute, as a text.
fn said(attributes: &[KeyValue], key: &str) -> String {
    let value = attributes.iter().find(|one| one.key == key).and_then(|one| one.value.clone());
    value.map_or_else(|| panic!("no {key} in {attributes:?}"), text)
}

/// That it is the first trace, whole.
fn assert_whole(request: &ExportTraceServiceRequest) {
    let [resource] = &request.resource_spans[..] else { panic!("{request:?}") };
    assert_eq!(said(&resource.resource.as_ref().unwrap().attributes, "service.name"), "fireactions");
    let [scope] = &resource.scope_spans[..] else { panic!("{request:?}") };
    assert_eq!(scope.scope.as_ref().unwrap().name, "fireactions");
    let whole = trace(1);
    let names: Vec<_> = scope.spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["test", "queued", "image", "kernel", "agent", "runner", "job", "teardown"]);
    for (span, expected) in scope.spans.iter().zip(&whole.spans) {
        assert_eq!(span.trace_id, whole.id.bytes());
        assert_eq!(span.span_id, expected.id);
        assert_eq!(span.parent_span_id, expected.parent.map(|id| id.to_vec()).unwrap_or_default());
        assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (expected.start, expected.end));
        assert_eq!(span.kind(), SpanKind::Internal);
    }
    let root = &scope.spans[0];
    assert_eq!(said(&root.attributes, "cicd.pipeline.run.id"), "12");
    assert_eq!(said(&root.attributes, "fireactions.job.exit_code"), "1");
    assert_eq!(said(&root.attributes, "fireactions.machine.was_ready"), "false");
    assert_eq!(said(&root.attributes, "fireactions.job.labels"), "linux,x64");
    let status = root.status.as_ref().unwrap();
    assert_eq!((status.code(), status.message.as_str()), (StatusCode::Error, "exit code 1"));
    assert_eq!(root.links[0].trace_id[..2], [0x0a, 0xf7]);
    assert!(!format!("{request:?}").contains("hunter2"));
}

#[tokio::test]
async fn the_published_types_read_a_whole_trace_by_both_protocols() {
    for protocol in BOTH {
        let collector = Collector::start(&[]).await;
        let mut sending = start(settings(&collector.url(), protocol), patience());
        sending.exporter.tell(trace(1));
        let counts = sending.end().await;
        assert_eq!((counts.sent, counts.waiting, counts.failures), (1, 0, 0), "{protocol:?}");
        let taken = collector.taken();
        assert_eq!(taken.len(), 1);
        assert_whole(&taken[0]);
    }
}

#[tokio::test]
async fn a_prefix_and_headers_of_a_file() {
    for protocol in BOTH {
        let collector = Collector::start(&[]).await;
        let prefix = if protocol == Protocol::Http { "/prefix/" } else { "" };
        let settings = Settings {
            headers: Some(Secret::new("Authorization: Bearer s3cret\nx-scope-orgid: team\n")),
            ..settings(&(collector.url() + prefix), protocol)
        };
        assert!(!format!("{settings:?}").contains("s3cret"));
        let mut sending = start(settings, patience());
        sending.exporter.tell(trace(1));
        assert_eq!(sending.end().await.sent, 1);
        let headers = &collector.headers()[0];
        assert_eq!(
            (&headers["authorization"], &headers["x-scope-orgid"]),
            (&"Bearer s3cret".parse().unwrap(), &"team".parse().unwrap())
        );
        assert!(headers["user-agent"].to_str().unwrap().starts_with("fireactions/"));
    }
}

#[tokio::test]
async fn a_collector_that_is_down_gets_them_when_it_is_up() {
    for protocol in BOTH {
        let port = ReservedPort::new((Ipv4Addr::LOCALHOST, 0).into());
        let mut sending = start(settings(&format!("http://{}", port.address()), protocol), patience());
        for number in 0..10 {
            sending.exporter.tell(trace(number));
        }
        let counts = sending.counts.clone();
        until("a failure", || counts.get().failures > 0).await;
        assert_eq!((counts.get().waiting, counts.get().sent), (10, 0));
        let collector = Collector::at(port.address(), None, &[]).await;
        assert_eq!(sending.end().await.sent, 10);
        let spans =
            |request: &ExportTraceServiceRequest| request.resource_spans[0].scope_spans[0].spans.len();
        assert_eq!(collector.taken().iter().map(spans).sum::<usize>(), 80);
    }
}

#[tokio::test]
async fn a_collector_that_is_busy_is_asked_again() {
    for protocol in BOTH {
        let collector = Collector::start(&[Reply::Busy, Reply::TooMany(0), Reply::Busy]).await;
        let mut sending = start(settings(&collector.url(), protocol), patience());
        sending.exporter.tell(trace(1));
        let counts = sending.end().await;
        assert_eq!((counts.sent, counts.failures), (1, 3), "{protocol:?}");
        assert_whole(&collector.taken()[0]);
    }
}

#[tokio::test]
async fn a_collector_that_says_nothing_is_asked_again_after_the_deadline() {
    for protocol in BOTH {
        let collector = Collector::start(&[Reply::Silence, Reply::Silence]).await;
        let settings =
            Settings { timeout: Duration::from_millis(300), ..settings(&collector.url(), protocol) };
        let mut sending = start(settings, patience());
        sending.exporter.tell(trace(1));
        let counts = sending.end().await;
        assert!(counts.sent == 1 && counts.failures >= 2, "{protocol:?}: {counts:?}");
    }
}

#[tokio::test]
async fn what_it_never_wants_is_dropped_and_the_next_is_sent() {
    for protocol in BOTH {
        let collector = Collector::start(&[Reply::Wrong, Reply::Partly(3)]).await;
        let mut sending = start(settings(&collector.url(), protocol), patience());
        sending.exporter.tell(trace(1));
        let counts = sending.counts.clone();
        until("a refusal", || counts.get().failures > 0).await;
        assert_eq!(sending.dropped("refused"), 1);
        sending.exporter.tell(trace(2));
        let counts = sending.end().await;
        assert_eq!((counts.sent, counts.waiting, counts.rejected_spans), (1, 0, 3), "{protocol:?}");
    }
}

#[tokio::test]
async fn what_finds_no_room_is_dropped_and_counted_and_nobody_waits() {
    let collector = Collector::start(&[Reply::Silence]).await;
    let patience = Patience { queue: 3, ..patience() };
    let mut sending = start(settings(&collector.url(), Protocol::Http), patience);
    sending.exporter.tell(trace(0));
    until("the first is on its way", || !collector.headers().is_empty()).await;
    for number in 1..=10 {
        sending.exporter.tell(trace(number));
    }
    assert_eq!(sending.dropped("full"), 7);
    assert_eq!(sending.counts.get().waiting, 4);
    // At the end it waits for so long, and no longer.
    sending.closing.cancel();
    let (task, counts) = (sending.task, sending.counts);
    task.await.unwrap();
    let counts = counts.get();
    assert_eq!((counts.waiting, counts.sent), (0, 0));
    assert!(counts.dropped.contains(&("stopped", 4)), "{counts:?}");
}

#[tokio::test]
async fn a_collector_that_stays_away_costs_its_traces_alone() {
    let port = ReservedPort::new((Ipv4Addr::LOCALHOST, 0).into());
    let patience = Patience { give_up: Duration::from_millis(20), ..patience() };
    let mut sending = start(settings(&format!("http://{}", port.address()), Protocol::Grpc), patience);
    sending.exporter.tell(trace(1));
    let counts = sending.end().await;
    assert!(counts.dropped.contains(&("unreachable", 1)) && counts.waiting == 0, "{counts:?}");
}

#[tokio::test]
async fn tls_by_an_authority_of_its_own_and_by_no_other() {
    for protocol in BOTH {
        let authority = Authority::new();
        let alpn: &[&str] = if protocol == Protocol::Grpc { &["h2"] } else { &["h2", "http/1.1"] };
        let collector = Collector::with_tls(authority.acceptor_for(alpn)).await;
        let with = |pem: Option<String>| Settings {
            ca_pem: pem.map(String::into_bytes),
            ..settings(&collector.url(), protocol)
        };
        for pem in [None, Some(stranger())] {
            let mut sending = start(with(pem), patience());
            sending.exporter.tell(trace(1));
            let counts = sending.counts.clone();
            until("a failure", || counts.get().failures > 1).await;
            assert_eq!((counts.get().sent, collector.headers().len()), (0, 0));
        }
        let mut sending = start(with(Some(authority.pem())), patience());
        sending.exporter.tell(trace(1));
        assert_eq!(sending.end().await.sent, 1);
        assert_whole(&collector.taken()[0]);
    }
    let broken =
        Settings { ca_pem: Some(b"nonsense".to_vec()), ..settings("https://localhost", Protocol::Grpc) };
    let error = broken.check().unwrap_err().to_string();
    assert!(error.contains("no certificate"), "{error}");
}

#[tokio::test]
async fn nothing_goes_without_tls_to_another_host_where_that_is_not_allowed() {
    let mut sending = start(settings("http://otel.invalid:4317", Protocol::Grpc), patience());
    sending.exporter.tell(trace(1));
    let counts = sending.end().await;
    assert!(counts.dropped.contains(&("refused", 1)), "{counts:?}");
}
