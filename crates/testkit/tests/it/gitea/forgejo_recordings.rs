//! Forgejo 15.0.3, as it was recorded.

use fireactions_testkit::gitea::runner::Outcome;
use fireactions_testkit::gitea::{FakeGitea, JobId, JobRequest, JobStatus, Release, Workflow};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::replay::Stage;

const SERVER: &str = "http://127.0.0.1:31315";
/// The same server, seen through what recorded the runners.
const PROXY: &str = "http://127.0.0.1:31316";

/// Registers a runner that nothing is recorded of.
async fn register(stage: &Stage, name: &str) -> Value {
    let request = json!({"method": "POST", "path": "/api/v1/orgs/acme/actions/runners",
        "headers": {"Authorization": "token <ADMIN_TOKEN>", "Content-Type": "application/json"},
        "body": {"name": name, "ephemeral": true}});
    let answer = stage.ask(&request).await;
    assert_eq!(answer.status, 201);
    answer.body
}

/// Registers the runner of a recording.
async fn plays(stage: &mut Stage, file: &str, name: &str) {
    let registered = register(stage, name).await;
    let headers = stage.look(file)["exchange"][0]["request"]["headers"].clone();
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    stage.names.bind(&word(&headers["X-Runner-Uuid"]), &word(&registered["uuid"]));
    stage.names.bind(&word(&headers["X-Runner-Token"]), &word(&registered["token"]));
}

/// The handle that a recording asks for is this job's.
fn handles(stage: &mut Stage, file: &str, job: JobId) {
    let there = stage.look(file)["exchange"][1]["request"]["body"]["handle"].as_str().unwrap().to_owned();
    let here = stage.fake.job(job).handle;
    stage.names.bind(&there, &here);
}

fn job(name: &str, steps: &[(&str, &str)]) -> JobRequest {
    JobRequest::new(name, &["ubuntu-24.04"]).steps(steps)
}

const LONG: [(&str, &str); 1] = [("long", "for i in $(seq 1 60); do echo tick $i; sleep 1; done")];

fn cancel_running(fake: &FakeGitea) {
    let running = fake.jobs().into_iter().rfind(|job| job.status == JobStatus::Running);
    fake.cancel(running.expect("a job runs").id);
}

#[tokio::test]
async fn answers_are_those_of_forgejo_15() {
    let Some(mut stage) = Stage::new("forgejo recordings", "forgejo-15.0.3", Release::FORGEJO, SERVER) else {
        return;
    };
    stage.names.host(PROXY, &stage.fake.url());
    // When it counts was not to be found out.
    stage.names.any_version = true;
    stage.set_clock("24");
    // That came last.
    stage.fake.advance(SignedDuration::from_secs(-10));
    for file in ["01", "02", "03", "04", "05", "06", "07", "08", "09", "10"] {
        stage.play(file).await;
    }
    register(&stage, "to-delete").await;
    stage.play("11").await;
    stage.play("12").await;
    push(&stage);
    for file in ["13", "14", "15", "16", "17", "18", "19", "20", "21", "22"] {
        stage.play(file).await;
    }
    stage.fake.advance(SignedDuration::from_secs(3));
    stage.play("23").await;
    stage.play("24").await;
    with_handles(&mut stage).await;
    cancelled(&mut stage).await;
    killed(&mut stage).await;
    stage.leave_out(&[
        ("25", "what forgejo-runner prints; its exchanges are 26"),
        ("28", "what forgejo-runner prints; its exchanges are 29"),
        ("30", "what forgejo-runner prints"),
        ("31", "what forgejo-runner prints"),
        ("32", "what forgejo-runner prints; its exchanges are 33"),
        ("34", "what forgejo-runner prints; its exchanges are 35"),
        ("37", "what forgejo-runner prints"),
        ("38", "what forgejo-runner prints"),
        ("39", "what forgejo-runner prints; its exchanges are 40"),
        ("41", "what forgejo-runner prints, and its exit codes"),
        ("42", "what forgejo-runner prints, and its exit codes"),
        ("43", "what forgejo-runner prints; its exchanges are 44"),
        ("46", "what forgejo-runner prints; its exchanges are 47"),
        ("48", "what forgejo-runner prints; its exchanges are 49"),
        ("52", "what forgejo-runner prints; its exchanges are 53"),
        ("54", "what forgejo-runner prints, and its files"),
        ("55", "what forgejo-runner prints"),
    ]);
    stage.end(152);
}

fn push(stage: &Stage) {
    let build = job("build", &[("hello", "echo hello world"), ("env", "env | sort | head -40")]);
    let after = JobRequest::new("after", &["ubuntu-24.04", "self"]).needs("build");
    let nobody = JobRequest::new("nobody", &["no-such-label"]);
    let matrix = |n| job(&format!("matrix ({n})"), &[("", "echo ${{ matrix.n }}")]);
    let mut pushed = Workflow::push("acme/app", vec![build, after, nobody, matrix(1), matrix(2)]);
    pushed.title = "add ci".into();
    stage.fake.begin(pushed);
}

async fn with_handles(stage: &mut Stage) {
    let ok = || job("ok", &[("hello", "echo hello world"), ("env", "env | sort")]);
    stage.dispatch("ok.yml", ok());
    let second = stage.dispatch("ok.yml", ok());
    plays(stage, "26", "fr-ok").await;
    handles(stage, "26", second);
    stage.play("26").await;
    stage.play("27").await;
    plays(stage, "29", "fr-taken").await;
    stage.play("29").await;
    play_matrix(stage).await;
    plays(stage, "35", "fr-nojob").await;
    stage.play("35").await;
    stage.play("36").await;
    plays(stage, "40", "fr-fail").await;
    let bad = stage.dispatch("bad.yml", job("bad", &[("bad", "exit 3"), ("", "echo no")]));
    handles(stage, "40", bad);
    stage.play("40").await;
    // It was made for the set-up errors of 41 and 42.
    register(stage, "fr-errors").await;
}

/// The workflow of a job of a matrix has the matrix in it, which the fake leaves out.
async fn play_matrix(stage: &mut Stage) {
    let strategy =
        "        strategy:\n            matrix:\n                \"n\":\n                    - 1\n";
    stage.change("33", |recorded| {
        let payload =
            &mut recorded["exchange"][1]["response"]["body"]["task"]["workflowPayload(base64-decoded)"];
        let text = payload.as_str().unwrap();
        assert!(text.ends_with(strategy), "{text}");
        *payload = text.replace(strategy, "").into();
    });
    stage.play("33").await;
}

async fn cancelled(stage: &mut Stage) {
    plays(stage, "44", "fr-cancel").await;
    let long = stage.dispatch("long.yml", job("long", &LONG));
    handles(stage, "44", long);
    let all = stage.look("44")["exchange"].as_array().unwrap().clone();
    let refused = all.iter().position(|exchange| exchange["response"]["status"] == 401).unwrap();
    stage
        .play_until("44", refused, |fake| {
            fake.advance(SignedDuration::from_secs(8));
            cancel_running(fake);
        })
        .await;
    stage.play("45").await;
    plays(stage, "47", "fr-cq").await;
    let before = stage.dispatch("long.yml", job("long", &LONG));
    handles(stage, "47", before);
    stage.fake.cancel(before);
    stage.play("47").await;
    plays(stage, "49", "fr-term").await;
    let ended = stage.dispatch("long.yml", job("long", &LONG));
    handles(stage, "49", ended);
    stage.play_until("49", usize::MAX, |fake| fake.advance(SignedDuration::from_secs(8))).await;
    stage.play("50").await;
}

async fn killed(stage: &mut Stage) {
    let killed = register(stage, "fr-kill").await;
    let killed = stage.fake.play(killed["id"].as_u64().unwrap());
    killed.declare_as("v12.8.2+b93a918a", &["ubuntu-24.04:host"]).await.unwrap();
    let long = stage.dispatch("long.yml", job("long", &LONG));
    let task = killed.fetch_single(&stage.fake.job(long).handle).await.unwrap().unwrap();
    killed.heartbeat(&task).await.unwrap();
    stage.play("51").await;
    plays(stage, "53", "fr-daemon").await;
    stage.play("53").await;
    // What 52 to 55 left behind: a job that was not run, one that was, one that was cancelled, and another's end.
    stage.dispatch("dm.yml", job("dm", &[]));
    let other = register(stage, "cli").await;
    let other = stage.fake.play(other["id"].as_u64().unwrap());
    other.declare(&["ubuntu-24.04"]).await.unwrap();
    let next = stage.fake.jobs().into_iter().find(|job| job.name == "matrix (2)").unwrap();
    let task = other.fetch_single(&next.handle).await.unwrap().unwrap();
    other.finish(&task, Outcome::Success).await.unwrap();
    let mid = stage.dispatch("mid.yml", job("mid", &[]));
    stage.fake.cancel(mid);
    stage.dispatch("empty.yml", JobRequest::new("e1", &[]));
    stage.play("56").await;
    stage.play("57").await;
}
