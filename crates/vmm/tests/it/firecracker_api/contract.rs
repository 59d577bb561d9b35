//! The client against Firecracker's published description of its API: every request that can be sent is one that is
//! described, every answer that is described is understood, and what is described and not used is named here.

use std::collections::BTreeSet;

use fireactions_testkit::spec::Spec;
use fireactions_vmm::firecracker::api::{ApiError, Feature};
use serde_json::Value;

use crate::firecracker_api::recorder::Recorder;
use crate::firecracker_api::samples::{self, Sample};

/// Of the version that the description is of.
const NEWEST: &str = "1.17.0-dev";

/// Operations that the client has no request for, and why.
const NOT_USED: &[(&str, &str)] = &[
    ("GET /vm/config", "what a machine was made with is known"),
    ("GET /machine-config", "the same"),
    ("PATCH /machine-config", "it is made in one piece"),
    ("PUT /cpu-config", "guests get the host's processor, or a built-in template"),
    ("PUT /logger", "the log is named on the command line"),
    ("PUT /metrics", "so are the metrics"),
    ("PUT /serial", "the serial port is the standard output, whose size the driver bounds"),
    ("GET /balloon", "its size is in its statistics"),
    ("PATCH /balloon/statistics", "their interval never changes"),
    ("GET /mmds", "what the guest reads is known"),
    ("PATCH /mmds", "it is replaced whole"),
    ("PATCH /drives/{drive_id}", "a machine has its disks and limits for life"),
    ("PATCH /network-interfaces/{iface_id}", "the same"),
    ("PATCH /balloon/hinting/start", "free page reporting gives memory back without being asked"),
    ("GET /balloon/hinting/status", "the same"),
    ("PATCH /balloon/hinting/stop", "the same"),
    ("PUT /pmem/{id}", "drives are virtio block devices, which every guest kernel has"),
    ("PATCH /pmem/{id}", "the same"),
    ("PUT /hotplug/memory", "machines have a fixed size; the balloon takes memory back from idle ones"),
    ("PATCH /hotplug/memory", "the same"),
    ("GET /hotplug/memory", "the same"),
];

/// Fields and choices of the requests that are used, which are never sent, and why.
const NOT_SENT: &[(&str, &str)] = &[
    ("Drive.partuuid", "images have no partitions"),
    ("Drive.socket", "drives are files, not vhost-user backends"),
    ("SnapshotLoadParams.enable_diff_snapshots", "deprecated; track_dirty_pages"),
    ("SnapshotLoadParams.mem_file_path", "deprecated; mem_backend"),
    ("Vsock.vsock_id", "deprecated"),
];

fn spec(test: &str) -> Option<Spec> {
    // Firecracker refuses fields that it does not know.
    Spec::find(test, "firecracker.yaml").map(Spec::closed)
}

fn named(operation: &(String, String)) -> String {
    format!("{} {}", operation.0, operation.1)
}

fn parts(sample: &dyn Sample) -> (String, String) {
    let name = sample.name();
    let (method, path) = name.split_once(' ').unwrap();
    (method.into(), path.into())
}

#[tokio::test]
async fn every_request_is_as_described() {
    let Some(spec) = spec("every_request_is_as_described") else { return };
    let (_dir, recorder, client) = Recorder::start(NEWEST).await;
    let mut checked = 0;
    for sample in samples::all() {
        let name = sample.name();
        // What is answered does not matter here: a request with an answer of its own fails to read this one.
        let sent = sample.send(&client).await;
        assert!(matches!(sent, Ok(_) | Err(ApiError::Protocol { .. })), "{name}: {sent:?}");
        let received = recorder.take();
        let [request] = received.as_slice() else { panic!("{name} was sent as {received:?}") };
        assert_eq!(format!("{} {}", request.method, request.path), name);
        let header =
            |name: &str| request.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        assert_eq!(header("transfer-encoding"), None, "Firecracker's server knows no chunks");
        if request.body.is_some() {
            assert_eq!(header("content-type"), Some("application/json"), "{name}");
        }
        let problems = spec.request_problems(&request.method, &request.path, request.body.as_ref());
        assert!(problems.is_empty(), "{name} {:?}: {problems:?}", request.body);
        checked += 1;
    }
    println!("{checked} requests are as described");
}

#[test]
fn every_operation_is_used_or_named() {
    let Some(spec) = spec("every_operation_is_used_or_named") else { return };
    let used: BTreeSet<String> = samples::all()
        .iter()
        .filter_map(|sample| {
            let (method, path) = parts(&**sample);
            Some(named(&spec.operation(&method, &path)?))
        })
        .collect();
    let described: BTreeSet<String> = spec.operations().iter().map(named).collect();
    let not_used: BTreeSet<String> = NOT_USED.iter().map(|(name, _)| (*name).to_owned()).collect();
    let forgotten: Vec<_> = described.difference(&used).filter(|name| !not_used.contains(*name)).collect();
    assert!(forgotten.is_empty(), "neither used nor named as not used: {forgotten:?}");
    let gone: Vec<_> =
        not_used.iter().filter(|name| used.contains(*name) || !described.contains(*name)).collect();
    assert!(gone.is_empty(), "named as not used, but used or not described: {gone:?}");
    println!("{} operations: {} used, {} not", described.len(), used.len(), not_used.len());
}

#[tokio::test]
async fn every_field_is_sent_or_named() {
    let Some(spec) = spec("every_field_is_sent_or_named") else { return };
    let (_dir, recorder, client) = Recorder::start(NEWEST).await;
    let (mut sent, mut described) = (BTreeSet::new(), BTreeSet::new());
    for sample in samples::all() {
        let _ = sample.send(&client).await;
        for request in recorder.take() {
            let Some(operation) = spec.operation(&request.method, &request.path) else { continue };
            let (Some((schema, _)), Some(body)) = (spec.body(&operation), &request.body) else { continue };
            sent.extend(spec.fields_of(schema, body));
            described.extend(spec.fields(schema));
        }
    }
    let not_sent: BTreeSet<String> = NOT_SENT.iter().map(|(name, _)| (*name).to_owned()).collect();
    let forgotten: Vec<_> = described.difference(&sent).filter(|name| !not_sent.contains(*name)).collect();
    assert!(forgotten.is_empty(), "neither sent nor named as not sent: {forgotten:?}");
    let gone: Vec<_> =
        not_sent.iter().filter(|name| sent.contains(*name) || !described.contains(*name)).collect();
    assert!(gone.is_empty(), "named as not sent, but sent or not described: {gone:?}");
    println!("{} fields and choices: {} sent, {} not", described.len(), sent.len(), not_sent.len());
}

#[tokio::test]
async fn every_answer_is_understood() {
    let Some(spec) = spec("every_answer_is_understood") else { return };
    let spec = spec.with_example("/definitions/NetworkInterface/properties/guest_mac", "06:00:ac:10:00:02");
    let (_dir, recorder, client) = Recorder::start(NEWEST).await;
    let mut understood = 0;
    for sample in samples::all() {
        let (method, path) = parts(&*sample);
        let Some(operation) = spec.operation(&method, &path) else { continue };
        for (status, schema) in spec.answers(&operation) {
            let code = status.parse().unwrap_or(500);
            let examples = schema.map_or_else(|| vec![Value::Null], |schema| spec.examples(schema));
            for example in examples {
                let body = if schema.is_some() { example.to_string() } else { String::new() };
                // The recorder's own 204 stands for its version.
                recorder.answer(code, &body);
                let answer = sample.send(&client).await;
                match &answer {
                    Ok(_) => assert!(code < 300, "{} {status} {body}: {answer:?}", sample.name()),
                    Err(ApiError::Refused { status, fault, .. }) => {
                        assert_eq!(*status, code);
                        let message = example["fault_message"].as_str();
                        assert!(message.is_none_or(|message| message == fault), "{answer:?}");
                    }
                    Err(error) => panic!("{} {status} {body}: {error}", sample.name()),
                }
                understood += 1;
            }
        }
    }
    println!("{understood} answers are understood");
}

#[tokio::test]
async fn no_version_is_sent_what_it_does_not_know() {
    let mut tried = BTreeSet::new();
    for (feature, sample) in samples::gated() {
        let since = feature.since();
        let before = format!("{}.{}.9", since.major, since.minor - 1);
        let (_dir, recorder, client) = Recorder::start(&before).await;
        let error = sample.send(&client).await.unwrap_err();
        assert!(
            matches!(error, ApiError::Unsupported { feature: missing, .. } if missing == feature),
            "{error:?}"
        );
        assert_eq!(recorder.take(), [], "nothing was sent");

        let (_dir, recorder, client) = Recorder::start(&since.to_string()).await;
        sample.send(&client).await.unwrap();
        assert_eq!(recorder.take().len(), 1);
        tried.insert(feature.to_string());
    }
    // What kernel file there is, the client does not see.
    let elsewhere = Feature::BzImage.to_string();
    let all: BTreeSet<String> = Feature::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(all.difference(&tried).collect::<Vec<_>>(), [&elsewhere]);
}
