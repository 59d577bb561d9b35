//! Traces of a real server's jobs, as a collector gets them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use fireactions_model::JobId;
use jiff::Timestamp;
use nix::sys::signal::Signal;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::namespace::accepted;
use crate::world::{Setup, World, pool};

const SOON: Duration = Duration::from_secs(60);
const TELEMETRY: &str = "telemetry: {otlp: {endpoint: 'http://127.0.0.1:4318', protocol: http, timeout: 1s}}";

/// The next request's spans, and the connection that waits for the answer.
fn told(listener: &TcpListener) -> (Vec<Span>, TcpStream) {
    let mut stream = accepted(listener, SOON);
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut reader = BufReader::new(&mut stream);
    let (mut line, mut length) = (String::new(), 0);
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).unwrap();
        if let Some(bytes) = line.strip_prefix("content-length: ") {
            length = bytes.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let request = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
    (
        request
            .resource_spans
            .into_iter()
            .flat_map(|one| one.scope_spans)
            .flat_map(|one| one.spans)
            .collect(),
        stream,
    )
}

fn nanos(time: &serde_json::Value) -> u64 {
    let time: Timestamp = time.as_str().unwrap().parse().unwrap();
    u64::try_from(time.as_nanosecond()).unwrap()
}

#[test]
fn a_job_is_told_with_its_times_and_told_again_when_nobody_took_it() {
    let mut world = World::new(Setup {
        pools: pool("default", 0, 2, ""),
        more: TELEMETRY.to_owned(),
        standin: true,
        ..Setup::default()
    });
    let listener = world.namespace.listen(SocketAddr::from(([127, 0, 0, 1], 4318)));
    world.boot();
    let id = world.submit(&["--env", "TOKEN=hunter2"], "echo hello; exit 7");
    world.wait_job(&id, &["failed"], SOON);
    let (spans, unanswered) = told(&listener);
    let job = world.job(&id);
    let trace = id.parse::<JobId>().unwrap().trace_id();
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(
        names,
        ["job", "queued", "image", "net", "spawn", "kernel", "agent", "runner", "job", "teardown"]
    );
    assert!(spans.iter().all(|span| span.trace_id == trace.bytes()));
    let times = |span: &Span| (span.start_time_unix_nano, span.end_time_unix_nano);
    assert_eq!(times(&spans[0]), (nanos(&job["queued_at"]), nanos(&job["finished_at"])));
    assert_eq!(times(&spans[1]), (nanos(&job["queued_at"]), nanos(&job["assigned_at"])));
    assert_eq!(times(&spans[8]), (nanos(&job["started_at"]), nanos(&job["finished_at"])));
    // The machine was made for it: it came, then the machine was begun, then it got the machine.
    assert!(spans[2].start_time_unix_nano >= spans[0].start_time_unix_nano);
    assert!(spans[6].end_time_unix_nano <= spans[1].end_time_unix_nano + 1_000_000);
    let all = format!("{spans:?}");
    assert!(!all.contains("hunter2") && !all.contains("hello"), "{all}");

    // Nobody has answered, so the next server tells it, under the same numbers.
    world.signal_server(Signal::SIGKILL);
    world.server_ended(SOON);
    drop(unanswered);
    // What it has begun may still lie there.
    listener.set_nonblocking(true).unwrap();
    while listener.accept().is_ok() {}
    listener.set_nonblocking(false).unwrap();
    world.boot();
    let (again, mut stream) = told(&listener);
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    let numbers = |spans: &[Span]| {
        spans.iter().map(|span| (span.trace_id.clone(), span.span_id.clone())).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&again), numbers(&spans));
    world.finish();
}
