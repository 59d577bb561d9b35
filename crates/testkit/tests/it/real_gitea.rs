//! The real Gitea: it starts, it is used, it is gone; and it answers a runner that speaks JSON.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use fireactions_testkit::real_gitea::{Place, RealGitea, available, wait_for};
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(60);
const WORKFLOW: &str =
    "on: push\njobs:\n  build:\n    runs-on: debian\n    steps:\n      - run: echo hello\n";

/// One with an organization and a repository in it.
fn start(test: &str) -> Option<RealGitea> {
    let gitea = RealGitea::start(&available(test)?, &Place::default());
    gitea.organization("acme");
    gitea.repository("acme/app");
    Some(gitea)
}

#[test]
fn a_job_is_queued_fetched_in_json_and_green_and_its_runner_is_gone() {
    let Some(gitea) = start("a job of a real Gitea") else { return };
    assert!(gitea.get("version")["version"].as_str().unwrap().starts_with("1.26."));
    let commit = gitea.push_workflow("acme/app", "ci", WORKFLOW);
    let queued = wait_for(WITHIN, "the job to be queued", || gitea.jobs("orgs/acme").into_iter().next());
    assert_eq!((&queued["status"], &queued["labels"]), (&json!("queued"), &json!(["debian"])));
    assert_eq!(queued["head_sha"], commit);

    let runner = gitea.register("orgs/acme", "one", &["debian"], true);
    assert_eq!(gitea.runners("orgs/acme")[0]["name"], "one");
    let call = |method: &str, body: Value| {
        let (status, answer) = gitea.rpc(method, Some(runner.credential()), &body);
        assert_eq!(status, 200, "{method}: {answer}\n{}", gitea.log());
        answer
    };
    call("Declare", json!({"version": "v0.0.1", "labels": ["debian"]}));
    let task = call("FetchTask", json!({}))["task"].clone();
    assert_eq!(task["context"]["repository"], "acme/app");
    let (id, at) = (&task["id"], "2026-01-02T03:04:05Z");
    let rows = json!([{"time": at, "content": "hello"}]);
    assert_eq!(
        call("UpdateLog", json!({"taskId": id, "rows": rows, "noMore": true})),
        json!({"ackIndex": "1"})
    );
    let step = json!({"result": "RESULT_SUCCESS", "startedAt": at, "stoppedAt": at, "logLength": "1"});
    let state =
        json!({"id": id, "result": "RESULT_SUCCESS", "startedAt": at, "stoppedAt": at, "steps": [step]});
    call("UpdateTask", json!({"state": state}));

    let done = &gitea.completed("orgs/acme", 1, WITHIN)[0];
    assert_eq!((&done["conclusion"], &done["runner_name"]), (&json!("success"), &json!("one")));
    assert_eq!(
        gitea.job_log("acme/app", done["id"].as_u64().unwrap()),
        "2026-01-02T03:04:05.0000000Z hello\n"
    );
    assert_eq!(gitea.runners("orgs/acme"), Vec::<Value>::new(), "it was for one job");
    let (status, answer) = gitea.rpc("FetchTask", Some(runner.credential()), &json!({}));
    assert_eq!(status, 500, "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("unregistered runner"), "{answer}");
}

#[test]
fn two_at_once_know_nothing_of_each_other() {
    let test = "two real Giteas at once";
    let Some((one, other)) = start(test).zip(start(test)) else { return };
    assert_ne!(one.url(), other.url());
    one.push_workflow("acme/app", "ci", WORKFLOW);
    wait_for(WITHIN, "the job to be queued", || (one.jobs("orgs/acme").len() == 1).then_some(()));
    assert_eq!(other.jobs("orgs/acme"), Vec::<Value>::new());
}

#[test]
fn what_it_has_outlives_its_restart_and_a_person_can_cancel() {
    let Some(gitea) = start("a real Gitea that is started again") else { return };
    gitea.push_workflow("acme/app", "ci", WORKFLOW);
    let queued = wait_for(WITHIN, "the job to be queued", || gitea.jobs("orgs/acme").into_iter().next());
    gitea.kill();
    gitea.boot();
    assert!(gitea.stop().success());
    gitea.boot();
    assert_eq!(gitea.jobs("orgs/acme"), std::slice::from_ref(&queued));
    gitea.cancel_run("acme/app", queued["run_id"].as_u64().unwrap());
    assert_eq!(gitea.completed("orgs/acme", 1, WITHIN)[0]["conclusion"], "cancelled");
}

#[test]
fn tokens_may_do_what_their_scopes_say() {
    let Some(gitea) = start("tokens of a real Gitea") else { return };
    let may = |scopes: &[&str]| {
        let token = gitea.token_of("boss", scopes);
        gitea.call_with(&token, reqwest::Method::GET, "orgs/acme/actions/jobs", None).0
    };
    assert_eq!(may(&["read:organization"]), 200);
    assert_eq!(may(&["write:repository"]), 403);
}

#[test]
fn hooks_are_called() {
    let Some(gitea) = start("hooks of a real Gitea") else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    gitea.hook("orgs/acme", &url, "secret", &["workflow_job"]);
    gitea.hook("admin", &url, "secret", &["workflow_job"]);
    gitea.push_workflow("acme/app", "ci", WORKFLOW);
    for number in 1..=2 {
        let (mut called, _) =
            wait_for(WITHIN, &format!("call {number} of a hook"), || listener.accept().ok());
        called.set_nonblocking(false).unwrap();
        called.set_read_timeout(Some(WITHIN)).unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let mut byte = [0];
            called.read_exact(&mut byte).unwrap();
            head.push(char::from(byte[0]));
        }
        let head = head.to_lowercase();
        assert!(
            head.contains("x-gitea-event: workflow_job") && head.contains("x-gitea-signature: "),
            "{head}"
        );
        called.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    }
}
