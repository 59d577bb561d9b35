//! OpenTelemetry's own collector.

use fireactions_telemetry::*;
use fireactions_testkit::real_collector::{self, RealCollector};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::collector::until;
use crate::common::{BOTH, patience, settings, trace};

/// An attribute, as OTLP's JSON has it.
fn said<'a>(of: &'a Value, key: &str) -> &'a Value {
    let all = of["attributes"].as_array().unwrap();
    &all.iter().find(|one| one["key"] == key).unwrap_or_else(|| panic!("no {key} in {of}"))["value"]
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[tokio::test]
async fn a_real_collector_takes_them_by_both_protocols() {
    let Some(program) = real_collector::available("a_real_collector_takes_them_by_both_protocols") else {
        return;
    };
    let collector = RealCollector::start(&program);
    for (number, protocol) in (1..).zip(BOTH) {
        let address = if protocol == Protocol::Grpc { collector.grpc() } else { collector.http() };
        let settings = Settings {
            ca_pem: Some(collector.authority().into_bytes()),
            ..settings(&format!("https://localhost:{}", address.port()), protocol)
        };
        let counts = Counts::default();
        let (mut exporter, task) =
            Exporter::start(settings, patience(), counts.clone(), CancellationToken::new()).unwrap();
        exporter.tell(trace(number));
        drop(exporter);
        task.await.unwrap();
        let counts = counts.get();
        assert_eq!((counts.sent, counts.failures), (1, 0), "{protocol:?}: {}", collector.log());
        until("it is written", || collector.taken().len() == usize::from(number)).await;
        let taken = collector.taken().pop().unwrap();
        let resource = &taken["resourceSpans"][0];
        assert_eq!(said(&resource["resource"], "service.name")["stringValue"], "fireactions");
        let spans = resource["scopeSpans"][0]["spans"].as_array().unwrap();
        let expected = trace(number);
        assert_eq!(spans.len(), expected.spans.len());
        for (span, expected_span) in spans.iter().zip(&expected.spans) {
            assert_eq!(span["traceId"], expected.id.to_string());
            assert_eq!(span["spanId"], hex(&expected_span.id));
            assert_eq!(span["name"], expected_span.name);
            assert_eq!(span["startTimeUnixNano"], expected_span.start.to_string());
            assert_eq!(span["endTimeUnixNano"], expected_span.end.to_string());
            let parent = expected_span.parent.map(|id| hex(&id));
            assert_eq!(span["parentSpanId"].as_str().filter(|id| !id.is_empty()), parent.as_deref());
        }
        assert_eq!(said(&spans[0], "cicd.pipeline.run.id")["stringValue"], "12");
        assert_eq!(said(&spans[0], "fireactions.job.exit_code")["intValue"], "1");
        assert_eq!(spans[0]["links"][0]["traceId"], "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(
            (&spans[0]["status"]["code"], &spans[0]["status"]["message"]),
            (&2.into(), &"exit code 1".into())
        );
        assert!(!taken.to_string().contains("hunter2"));
    }
}
