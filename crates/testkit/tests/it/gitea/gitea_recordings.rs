//! Gitea 1.26.0, as it was recorded.

use std::time::Duration;

use aws_lc_rs::hmac;
use fireactions_testkit::gitea::runner::FakeRunner;
use fireactions_testkit::gitea::{FakeGitea, JobRequest, JobStatus, Release, Scope, Workflow};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::inbox::{Came, Inbox};
use super::replay::Stage;

const SERVER: &str = "http://127.0.0.1:31126";
/// The same server, seen through what recorded the runners.
const PROXY: &str = "http://127.0.0.1:31127";
const RECEIVER: &str = "http://127.0.0.1:31128";

/// Runners that were registered for what follows, outside of the recordings.
async fn register(stage: &mut Stage, name: &str, label: &str, is_ephemeral: bool) -> u64 {
    let token = stage.fake.registration_token(&Scope::Organization("acme".into()));
    let url = stage.fake.url();
    FakeRunner::register(&url, &token, name, &[label], is_ephemeral).await.unwrap();
    stage.fake.runners().last().unwrap().id
}

/// The same; the recording of its exchanges has its credential.
async fn plays(stage: &mut Stage, file: &str, name: &str, label: &str, is_ephemeral: bool) -> u64 {
    let token = stage.fake.registration_token(&Scope::Organization("acme".into()));
    let body = json!({"name": name, "token": token, "labels": [label], "ephemeral": is_ephemeral});
    let url = format!("{}/api/actions/runner.v1.RunnerService/Register", stage.fake.url());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer: Value = client.post(url).json(&body).send().await.unwrap().json().await.unwrap();
    let (there, token) = credential(stage, file);
    stage.names.bind(&there, answer["runner"]["uuid"].as_str().unwrap());
    stage.names.bind(&token, answer["runner"]["token"].as_str().unwrap());
    answer["runner"]["id"].as_str().unwrap().parse().unwrap()
}

/// The uuid and the token's name that a recording's runner has.
fn credential(stage: &Stage, file: &str) -> (String, String) {
    let recorded = stage.look(file);
    let of = |exchange: &Value| {
        let headers = exchange["request"]["headers"].as_object()?;
        let header = |name: &str| {
            let found = headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.as_str().unwrap().to_owned())
        };
        Some((header("x-runner-uuid")?, header("x-runner-token")?))
    };
    let one = std::slice::from_ref(recorded);
    let all = recorded["exchange"].as_array().map_or(one, Vec::as_slice);
    all.iter().find_map(of).expect("a runner asks")
}

fn job(steps: &[(&str, &str)]) -> JobRequest {
    JobRequest::new("job", &["ubuntu-24.04"]).steps(steps)
}

const LONG: [(&str, &str); 1] = [("long", "for i in $(seq 1 60); do echo tick $i; sleep 1; done")];
const MID: [(&str, &str); 1] =
    [("mid", "for i in $(seq 1 25); do echo tick $i; sleep 1; done; echo end > $HOME/reached-end")];

fn cancel_running(fake: &FakeGitea) {
    let running = fake.jobs().into_iter().rfind(|job| job.status == JobStatus::Running);
    fake.cancel(running.expect("a job runs").id);
}

#[tokio::test]
async fn answers_are_those_of_gitea_1_26() {
    let Some(mut stage) = Stage::new("gitea recordings", "gitea-1.26.0", Release::GITEA, SERVER) else {
        return;
    };
    let inbox = Inbox::new().await;
    stage.names.host(PROXY, &stage.fake.url());
    stage.names.host(RECEIVER, &inbox.url);
    stage.names.bind("<HOOK_SECRET>", "the secret");
    stage.set_clock("17");
    for file in ["01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12"] {
        stage.play(file).await;
    }
    for name in ["idle-0", "idle-1", "idle-2", "idle-3"] {
        register(&mut stage, name, "ubuntu-24.04", true).await;
    }
    for file in ["13", "14", "15", "16", "17", "18"] {
        stage.play(file).await;
    }
    let build = JobRequest::new("build", &["ubuntu-24.04"])
        .steps(&[("hello", "echo hello world"), ("env", "env | sort | head -40")]);
    let after = JobRequest::new("after", &["ubuntu-24.04", "self"]).needs("build");
    let nobody = JobRequest::new("nobody", &["no-such-label"]);
    stage.fake.begin(Workflow::push("acme/app", vec![build, after, nobody]));
    for file in ["19", "20", "21", "22", "23", "24", "25", "26", "27", "28", "29", "30", "31"] {
        stage.play(file).await;
    }
    hooks(&mut stage, &inbox).await;
    with_act_runner(&mut stage).await;
    cancelled_and_killed(&mut stage).await;
    hooks_again(&mut stage, &inbox).await;
    labels_and_cancels(&mut stage).await;
    stage.leave_out(&[
        ("38", "what act_runner prints, and its files"),
        ("42", "what act_runner prints"),
        ("45", "what act_runner prints"),
        ("48", "what act_runner prints"),
        ("50", "what act_runner prints, and its exit codes"),
        ("51", "what act_runner prints"),
        ("55", "what act_runner prints"),
        ("66", "what act_runner prints"),
        ("68", "what act_runner prints"),
    ]);
    stage.end(215);
}

async fn with_act_runner(stage: &mut Stage) {
    plays(stage, "39", "act-ok", "ubuntu-24.04:host", true).await;
    stage.dispatch("ok.yml", job(&[("hello", "echo hello world"), ("env", "env | sort")]));
    for file in ["39", "40", "41"] {
        stage.play(file).await;
    }
    plays(stage, "43", "act-fail", "ubuntu-24.04:host", true).await;
    stage.dispatch("fail.yml", job(&[("bad", "exit 3"), ("skipped", "echo no")]));
    stage.play("43").await;
    stage.play("44").await;
    plays(stage, "46", "act-idle", "idle-only:host", true).await;
    stage.play("46").await;
    stage.play("47").await;
    let id = plays(stage, "49", "act-del", "idle-only:host", true).await;
    stage.play_until("49", usize::MAX, |fake| fake.delete_runner(id)).await;
    // Of the set-up errors: one with a wrong token, and one that the runner's own program registered.
    register(stage, "bad-token", "ubuntu-24.04", true).await;
    register(stage, "cli", "ubuntu-24.04", true).await;
}

async fn cancelled_and_killed(stage: &mut Stage) {
    plays(stage, "52", "act-cancel", "ubuntu-24.04:host", true).await;
    stage.dispatch("long.yml", job(&LONG));
    // The last four exchanges are from after the cancel.
    let first_refused = first_refused(stage, "52");
    stage.play_until("52", first_refused, cancel_running).await;
    stage.play("53").await;
    let queued = stage.dispatch("nobody.yml", JobRequest::new("job", &["no-such-label"]));
    stage.fake.cancel(queued);
    stage.play("54").await;
    plays(stage, "56", "act-term", "ubuntu-24.04:host", true).await;
    stage.dispatch("long.yml", job(&LONG));
    stage.play("56").await;
    stage.play("57").await;
    let killed = register(stage, "act-kill", "ubuntu-24.04", true).await;
    stage.dispatch("long.yml", job(&LONG));
    let killed = stage.fake.play(killed);
    let task = killed.fetch().await.unwrap().unwrap();
    killed.heartbeat(&task).await.unwrap();
    stage.play("58").await;
    stage.play("59").await;
    let (file, recorded) = stage.take("60");
    for list in recorded["exchange"].as_array().unwrap() {
        let path = format!("/api/v1/repos/acme/app/actions/jobs?limit={}", list["limit"]);
        let headers = json!({"Authorization": "token <ADMIN_TOKEN>"});
        let answer = stage.ask(&json!({"method": "GET", "path": path, "headers": headers})).await;
        let ids: Value =
            answer.body["jobs"].as_array().unwrap().iter().map(|job| job["id"].clone()).collect();
        let found = stage.names.differences(&list["ids"], &ids);
        stage.differs(&file, found);
    }
    stage.play("61").await;
}

async fn labels_and_cancels(stage: &mut Stage) {
    let any = plays(stage, "64", "act-any", "anything", true).await;
    assert_eq!(any, 17);
    let mut empty = Workflow::push("acme/app", vec![JobRequest::new("e1", &[])]);
    empty.file = "empty.yml".into();
    stage.fake.workflow(empty);
    // Of the task only the id and the job's name were kept, and how the job was queued before it.
    let (file, recorded) = stage.take("64");
    let answer = stage.ask(&recorded["exchange"][0]["request"]).await;
    assert_eq!(answer.status, 204);
    let path = "/api/v1/repos/acme/app/actions/jobs?status=queued";
    let headers = json!({"Authorization": "token <ADMIN_TOKEN>"});
    let queued = stage.ask(&json!({"method": "GET", "path": path, "headers": headers})).await;
    let queued: Value =
        queued.body["jobs"].as_array().unwrap().iter().filter(|job| job["id"] == 12).cloned().collect();
    let found = stage.names.differences(&recorded["queued"], &queued);
    stage.differs(&file, found);
    let answer = stage.ask(&recorded["exchange"][1]["request"]).await;
    let there = &recorded["exchange"][1]["response"]["body"]["task"];
    let here = json!({"id": answer.body["task"]["id"], "job": answer.body["task"]["context"]["job"]});
    let found = stage.names.differences(there, &here);
    stage.differs(&file, found);

    plays(stage, "65", "act-case", "ubuntu-24.04", true).await;
    stage.dispatch("case.yml", JobRequest::new("job", &["Ubuntu-24.04"]));
    stage.play("65").await;
    plays(stage, "67", "act-cancel2", "ubuntu-24.04:host", true).await;
    stage.dispatch("mid.yml", job(&MID));
    let refused = first_refused(stage, "67");
    stage.play_until("67", refused, cancel_running).await;
    plays(stage, "69", "act-noneph", "ubuntu-24.04:host", false).await;
    stage.dispatch("mid.yml", job(&MID));
    // This one is told, when it asks next.
    stage.play_until("69", usize::MAX, cancel_running).await;
    stage.play("70").await;
    stage.play("71").await;
    stage.fake.advance(SignedDuration::from_mins(17));
    stage.play("72").await;
}

/// The number of the first answer that is an error.
fn first_refused(stage: &Stage, file: &str) -> usize {
    let all = stage.look(file)["exchange"].as_array().unwrap().iter();
    all.map(|exchange| exchange["response"]["status"].as_u64())
        .position(|status| status == Some(500))
        .unwrap()
}

async fn arrived(inbox: &Inbox, fake: &FakeGitea) -> Vec<Came> {
    let fake = fake.clone();
    let waited = move || fake.wait_delivered(Duration::from_secs(60));
    tokio::task::spawn_blocking(waited).await.unwrap();
    inbox.came()
}

/// What was told of the first run.
async fn hooks(stage: &mut Stage, inbox: &Inbox) {
    let came = arrived(inbox, &stage.fake).await;
    for file in ["32", "33", "34", "35", "36", "37"] {
        let (name, recorded) = stage.take(file);
        let request = &recorded["request"];
        let is_form = request["body"].is_string();
        let action = request["body"]["action"].as_str().unwrap_or("queued");
        let job = request["body"]["workflow_job"]["id"].as_u64().unwrap_or(1);
        let is_it = |one: &&Came| {
            let json = json_of(one);
            one.path == request["path"] && json["action"] == action && json["workflow_job"]["id"] == job
        };
        let one = came.iter().find(is_it).unwrap_or_else(|| panic!("{name}: nothing came")).clone();
        let mut found = Vec::new();
        let secret = if request["path"] == "/repo-nosecret" { "" } else { "the secret" };
        for (header, there) in request["headers"].as_object().unwrap() {
            let (there, here) = (there.as_str().unwrap(), one.header(header));
            let there = match header.as_str() {
                // The JSON's fields have another order here, and more or fewer digits.
                "Content-Length" => continue,
                "X-Hub-Signature" if !secret.is_empty() => {
                    format!("sha1={}", sign(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret, &one))
                }
                "X-Hub-Signature-256" if !secret.is_empty() => {
                    format!("sha256={}", sign(hmac::HMAC_SHA256, secret, &one))
                }
                "X-Gitea-Signature" | "X-Gogs-Signature" if !secret.is_empty() => {
                    sign(hmac::HMAC_SHA256, secret, &one)
                }
                _ => there.to_owned(),
            };
            match here {
                None => found.push(format!("header {header}: absent")),
                Some(here) if header.ends_with("-Delivery") => {
                    found.extend(stage.names.differences(&there.into(), &here.into()));
                }
                Some(here) if here != there => found.push(format!("header {header}: {there}, got {here}")),
                Some(_) => {}
            }
        }
        if is_form {
            // Cut in the middle; its JSON is that of the others.
            let same = came.iter().find(|other| other.path == "/org" && json_of(other) == json_of(&one));
            assert!(same.is_some());
            assert!(one.body.starts_with(b"payload=%7B%0A++%22action%22%3A+%22queued%22%2C%0A++%22"));
        } else {
            assert!(one.body.starts_with(b"{\n  \""), "two spaces before each field");
            found.extend(stage.names.differences(&request["body"], &json_of(&one)));
        }
        stage.differs(&name, found);
    }
}

fn json_of(came: &Came) -> Value {
    let body = String::from_utf8(came.body.to_vec()).unwrap();
    match body.strip_prefix("payload=") {
        None => serde_json::from_str(&body).unwrap(),
        Some(form) => {
            let text = reqwest::Url::parse(&format!("http://form?payload={form}")).unwrap();
            serde_json::from_str(&text.query_pairs().next().unwrap().1).unwrap()
        }
    }
}

/// Over the JSON, whatever the form.
fn sign(algorithm: hmac::Algorithm, secret: &str, came: &Came) -> String {
    let body = String::from_utf8(came.body.to_vec()).unwrap();
    let text = match body.strip_prefix("payload=") {
        None => body,
        Some(form) => {
            let text = reqwest::Url::parse(&format!("http://form?payload={form}")).unwrap();
            text.query_pairs().next().unwrap().1.into_owned()
        }
    };
    let key = hmac::Key::new(algorithm, secret.as_bytes());
    let signature = hmac::sign(&key, text.as_bytes());
    signature.as_ref().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Which hooks hear of a job, and what becomes of a delivery that is refused.
async fn hooks_again(stage: &mut Stage, inbox: &Inbox) {
    let recorded = stage.look("62").clone();
    stage.play("62").await;
    let before = arrived(inbox, &stage.fake).await.len();
    stage.dispatch("nobody.yml", JobRequest::new("job", &["no-such-label"]));
    let came = arrived(inbox, &stage.fake).await.split_off(before);
    let mut called: Vec<String> = came.into_iter().map(|one| one.path).collect();
    let mut there: Vec<String> = serde_json::from_value(recorded["called"].clone()).unwrap();
    // They are sent at the same time.
    called.sort();
    there.sort();
    assert_eq!(called, there);
    assert_eq!(recorded["form_hook"]["signature_over_decoded_payload_parameter"], true, "as in `hooks`");

    let (_, recorded) = stage.take("63");
    inbox.answer_with(500);
    let before = arrived(inbox, &stage.fake).await.len();
    stage.dispatch("nobody.yml", JobRequest::new("job", &["no-such-label"]));
    let came = arrived(inbox, &stage.fake).await.split_off(before);
    let to_one = came.iter().filter(|one| one.path == "/org").count();
    assert_eq!(recorded["deliveries"], to_one);
    inbox.answer_with(200);
}
