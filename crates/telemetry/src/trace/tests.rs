use std::time::Duration;

use fireactions_model::{
    ForgeName, JobId, JobSpec, MachineId, Outcome, PhaseTimes, PoolName, Program, RemoteJob, Usage,
};

use super::*;
use crate::attributes::Value;

/// So many milliseconds after the job came.
fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(1_750_000_000_000 + millis).unwrap()
}

fn job(state: JobState) -> JobRecord {
    let mut spec = JobSpec::new(Program::Script { text: "echo hunter2".into() });
    spec.env = vec![("TOKEN".into(), "hunter2".into())];
    spec.name = Some("build".into());
    JobRecord {
        id: JobId::new("j0123456789").unwrap(),
        spec,
        state,
        attempt: 1,
        pool: Some(PoolName::new("default").unwrap()),
        machine: Some(MachineId::new("m0123456789").unwrap()),
        cancel_requested: false,
        outcome: Some(Outcome::Exited { code: 0 }),
        reason: None,
        waiting: None,
        autopsy: None,
        remote: None,
        usage: Usage::default(),
        phases: PhaseTimes::from([
            (Phase::Queued, 1_000_000),
            (Phase::Image, 100_000),
            (Phase::Net, 100_000),
            (Phase::Spawn, 100_000),
            (Phase::Kernel, 100_000),
            (Phase::Agent, 100_000),
            (Phase::Runner, 200_000),
            (Phase::Job, 3_000_000),
            (Phase::Teardown, 50_000),
        ]),
        notes: vec![],
        queued_at: at(0),
        assigned_at: Some(at(1000)),
        started_at: Some(at(1200)),
        finished_at: Some(at(4200)),
    }
}

/// The phases: name, begin and end in milliseconds after the job came.
fn phases(trace: &Trace) -> Vec<(&str, i64, i64)> {
    let millis = |nanos: u64| i64::try_from(nanos / 1_000_000).unwrap() - 1_750_000_000_000;
    trace.spans.iter().map(|span| (span.name.as_str(), millis(span.start), millis(span.end))).collect()
}

fn said<'a>(trace: &'a Trace, name: &str) -> Option<&'a Value> {
    trace.spans[0].attributes.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[test]
fn a_machine_that_was_made_for_the_job() {
    let trace = Trace::of(&job(JobState::Succeeded), Some(at(300))).unwrap();
    let expected = [
        ("build", 0, 4200),
        ("queued", 0, 1000),
        ("image", 300, 400),
        ("net", 400, 500),
        ("spawn", 500, 600),
        ("kernel", 600, 700),
        ("agent", 700, 800),
        ("runner", 1000, 1200),
        ("job", 1200, 4200),
        ("teardown", 4200, 4250),
    ];
    assert_eq!(phases(&trace), expected);
    assert_eq!(said(&trace, "fireactions.machine.was_ready"), Some(&Value::Bool(false)));
    assert_eq!(said(&trace, "fireactions.job.exit_code"), Some(&Value::Number(0)));
    assert_eq!(said(&trace, "cicd.pipeline.task.run.result"), Some(&text("success")));
    assert_eq!(trace.spans[0].status, Some(Status::Ok));
    // Told again by another server, it is the same; another job's is another.
    assert_eq!(Trace::of(&job(JobState::Succeeded), Some(at(300))), Some(trace.clone()));
    let other = JobRecord { id: JobId::new("j0123456788").unwrap(), ..job(JobState::Succeeded) };
    let other = Trace::of(&other, None).unwrap();
    assert!(other.id != trace.id && other.spans[0].id != trace.spans[0].id);
    let mut ids: Vec<_> = trace.spans.iter().map(|span| span.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), expected.len());
    assert!(trace.spans[1..].iter().all(|span| span.parent == Some(trace.spans[0].id)));
}

#[test]
fn a_machine_that_was_ready_cost_nothing() {
    let trace = Trace::of(&job(JobState::Succeeded), Some(at(-60_000))).unwrap();
    let names: Vec<_> = phases(&trace).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["build", "queued", "runner", "job", "teardown"]);
    assert_eq!(said(&trace, "fireactions.machine.was_ready"), Some(&Value::Bool(true)));
    // Where nobody knows when it was begun, it was ready when it got the job.
    let trace = Trace::of(&job(JobState::Succeeded), None).unwrap();
    assert_eq!(
        phases(&trace)[2..7],
        [
            ("image", 500, 600),
            ("net", 600, 700),
            ("spawn", 700, 800),
            ("kernel", 800, 900),
            ("agent", 900, 1000)
        ]
    );
}

#[test]
fn a_job_that_never_had_a_machine() {
    let cancelled = JobRecord {
        machine: None,
        assigned_at: None,
        started_at: None,
        outcome: Some(Outcome::Cancelled),
        reason: Some("cancelled by ops".into()),
        phases: PhaseTimes::from([(Phase::Queued, 4_200_000)]),
        ..job(JobState::Cancelled)
    };
    let trace = Trace::of(&cancelled, None).unwrap();
    assert_eq!(phases(&trace), [("build", 0, 4200), ("queued", 0, 4200)]);
    assert_eq!(trace.spans[0].status, Some(Status::Error("cancelled by ops".into())));
    assert_eq!(said(&trace, "fireactions.machine.was_ready"), None);
    assert!(Trace::of(&job(JobState::Running), None).is_none());
}

fn remote() -> RemoteJob {
    RemoteJob {
        runner: Some("fa-1".into()),
        runner_id: Some(7),
        id: Some(11),
        run_id: Some(12),
        repository: Some("acme/widgets".into()),
        git_ref: Some("main".into()),
        actor: Some("somebody".into()),
        workflow: Some("ci".into()),
        name: Some("test\n".to_owned() + &"x".repeat(70_000)),
        url: Some("https://git.example.com/acme/widgets/actions/runs/12".into()),
        labels: vec!["linux".into()],
        queued_at: Some(at(-500)),
        picked_up_at: Some(at(1500)),
        conclusion: Some("failure".into()),
        ..RemoteJob::new(ForgeName::github(), "acme")
    }
}

#[test]
fn a_forges_job_is_told_with_the_forges_ids() {
    let job = JobRecord { remote: Some(remote()), ..job(JobState::Succeeded) };
    let trace = Trace::of(&job, Some(at(300))).unwrap();
    let all = phases(&trace);
    assert!(all[0].0.len() == 256 && all[0].0.starts_with("test xx"));
    assert_eq!((all[0].1, all[0].2, all[1]), (-500, 4200, ("queued", -500, 1500)));
    assert_eq!(all[7..], [("runner", 1000, 1200), ("job", 1500, 4200), ("teardown", 4200, 4250)]);
    for (name, value) in [
        ("cicd.pipeline.name", "ci"),
        ("cicd.pipeline.run.id", "12"),
        ("cicd.pipeline.task.run.id", "11"),
        ("cicd.pipeline.task.run.url.full", "https://git.example.com/acme/widgets/actions/runs/12"),
        ("cicd.pipeline.task.run.result", "failure"),
        ("cicd.worker.name", "fa-1"),
        ("vcs.owner.name", "acme"),
        ("vcs.repository.name", "widgets"),
        ("vcs.ref.head.name", "main"),
        ("fireactions.forge", "github"),
    ] {
        assert_eq!(said(&trace, name), Some(&text(value)), "{name}");
    }
    assert_eq!(said(&trace, "fireactions.job.labels"), Some(&Value::Texts(vec!["linux".into()])));
    // The runner's program ended well, the job did not.
    assert_eq!(trace.spans[0].status, Some(Status::Error("failure".into())));
}

#[test]
fn a_runner_that_went_without_a_job_has_no_trace() {
    let idle = RemoteJob { picked_up_at: None, ..remote() };
    assert!(Trace::of(&JobRecord { remote: Some(idle), ..job(JobState::Succeeded) }, None).is_none());
}

#[test]
fn clocks_that_disagree_make_no_span_that_ends_before_it_begins() {
    let early = RemoteJob { queued_at: Some(at(9000)), picked_up_at: Some(at(8000)), ..remote() };
    let trace =
        Trace::of(&JobRecord { remote: Some(early), ..job(JobState::Succeeded) }, Some(at(20_000))).unwrap();
    assert!(trace.spans.iter().all(|span| span.start <= span.end), "{:?}", phases(&trace));
    let huge =
        PhaseTimes::from([(Phase::Image, u64::MAX), (Phase::Net, u64::MAX), (Phase::Teardown, u64::MAX)]);
    for created in [None, Some(Timestamp::MIN), Some(Timestamp::MAX)] {
        let job = JobRecord { phases: huge.clone(), ..job(JobState::Lost) };
        let trace = Trace::of(&job, created).unwrap();
        assert!(trace.spans.iter().all(|span| span.start <= span.end));
    }
}

#[test]
fn nothing_of_program_and_environment_is_told() {
    let mut secret = job(JobState::Failed);
    secret.notes = vec!["hunter2".into()];
    let told = format!("{:?}", Trace::of(&secret, Some(at(0))).unwrap());
    assert!(!told.contains("hunter2") && told.contains("build"), "{told}");
}

#[test]
fn the_cause_is_linked() {
    let link = |value: &str| {
        let mut job = job(JobState::Succeeded);
        job.spec.env.push(("TRACEPARENT".into(), value.into()));
        Trace::of(&job, None).unwrap().spans[0].link
    };
    let good = link("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
    assert_eq!((good.trace[0], good.trace[15], good.span[0], good.span[7]), (0x0a, 0x9c, 0xb7, 0x31));
    assert!(link("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-later").is_some());
    for bad in [
        "",
        "00",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-äaf7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
    ] {
        assert_eq!(link(bad), None, "{bad}");
    }
    assert_eq!(before(at(0), 1_000_000), at(0) - Duration::from_secs(1));
}
