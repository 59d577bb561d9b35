//! Jobs that have ended, and exporters in a hurry.

use std::collections::BTreeMap;
use std::time::Duration;

use fireactions_model::*;
use fireactions_telemetry::{Protocol, *};
use jiff::Timestamp;

pub const BOTH: [Protocol; 2] = [Protocol::Grpc, Protocol::Http];

/// A moment, in milliseconds after another.
pub fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(1_750_000_000_000 + millis).unwrap()
}

/// A job of a forge that has ended, and of which all is known.
pub fn job(number: u8) -> JobRecord {
    let mut spec = JobSpec::new(Program::Script { text: "hunter2".into() });
    let cause = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    spec.env = vec![("TOKEN".into(), "hunter2".into()), ("TRACEPARENT".into(), cause.into())];
    let phases = [
        (Phase::Queued, 1_000_000),
        (Phase::Image, 100_000),
        (Phase::Kernel, 300_000),
        (Phase::Agent, 100_000),
        (Phase::Runner, 200_000),
        (Phase::Job, 3_000_000),
        (Phase::Teardown, 50_000),
    ];
    let remote = RemoteJob {
        runner: Some("fa-1".into()),
        id: Some(11),
        run_id: Some(12),
        repository: Some("acme/widgets".into()),
        name: Some("test".into()),
        queued_at: Some(at(0)),
        picked_up_at: Some(at(1200)),
        conclusion: Some("failure".into()),
        labels: vec!["linux".into(), "x64".into()],
        ..RemoteJob::new(ForgeName::github(), "acme")
    };
    JobRecord {
        id: JobId::from_random([number, 1, 2, 3, 4, 5, 6, 7]),
        spec,
        state: JobState::Failed,
        attempt: 1,
        pool: Some(PoolName::new("default").unwrap()),
        machine: Some(MachineId::from_random([number, 1, 2, 3, 4, 5, 6, 7])),
        cancel_requested: false,
        outcome: Some(Outcome::Exited { code: 1 }),
        reason: Some("exit code 1".into()),
        waiting: None,
        autopsy: None,
        remote: Some(remote),
        usage: Usage::default(),
        phases: PhaseTimes::from(phases),
        notes: vec![],
        queued_at: at(0),
        assigned_at: Some(at(1000)),
        started_at: Some(at(1200)),
        finished_at: Some(at(4200)),
    }
}

pub fn trace(number: u8) -> Trace {
    Trace::of(&job(number), Some(at(400))).unwrap()
}

pub fn settings(url: &str, protocol: Protocol) -> Settings {
    Settings {
        endpoint: url.parse().unwrap(),
        protocol,
        headers: None,
        ca_pem: None,
        insecure_http: false,
        timeout: Duration::from_secs(30),
        resource: BTreeMap::from([("service.name".to_owned(), "fireactions".to_owned())]),
    }
}

/// Hardly any, but where something is waited for.
pub fn patience() -> Patience {
    Patience {
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(5),
        give_up: Duration::from_secs(60),
        closing: Duration::from_millis(100),
        ..Patience::default()
    }
}
