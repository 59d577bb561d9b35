//! Jobs of a real Gitea.

use std::fs;

use fireactions_testkit::real_gitea::{Place, RealGitea, Registered, available, wait_for};
use reqwest::Method;
use serde_json::{Value, json};

use crate::program::{Program, WITHIN};

const CONFIG: &str =
    "log: {level: info}\nrunner: {fetch_interval: 200ms, capacity: 1}\ncache: {enabled: false}\n";

fn start(test: &str) -> Option<RealGitea> {
    let gitea = RealGitea::start(&available(test)?, &Place::default());
    gitea.organization("acme");
    gitea.repository("acme/app");
    Some(gitea)
}

/// Pushes a workflow of one job with these steps, as YAML indented by six. The job waits when this returns.
fn push(gitea: &RealGitea, steps: &str) {
    let text = format!("on: push\njobs:\n  build:\n    runs-on: debian\n    steps:\n{steps}");
    gitea.push_workflow("acme/app", "ci", &text);
    wait_for(WITHIN, "the job to wait", || (!gitea.jobs("orgs/acme").is_empty()).then_some(()));
}

fn daemon(gitea: &RealGitea, runner: &Registered, more: &[&str]) -> Program {
    let words = [&["daemon", "-c", "config.yaml"], more].concat();
    Program::start(&words, &[(".runner", &runner.file(gitea.url())), ("config.yaml", CONFIG)])
}

fn one_job(gitea: &RealGitea, runner: &Registered, more: &[&str]) -> Program {
    let words = ["-c", "config.yaml", "one-job", "--url", gitea.url(), "--uuid", &runner.uuid, "--token-url"];
    let words = [&words[..], &["file://DIR/token", "--label", "debian:host"], more].concat();
    Program::start(&words, &[("token", &runner.token), ("config.yaml", CONFIG)])
}

/// The one job, over, and its log without times.
fn over(gitea: &RealGitea) -> (Value, Vec<String>) {
    let job = gitea.completed("orgs/acme", 1, WITHIN).remove(0);
    let log = gitea.job_log("acme/app", job["id"].as_u64().unwrap());
    let line = |line: &str| line.split_once(' ').map(|(_, text)| text.to_owned()).unwrap_or_default();
    let log = log.lines().map(line).collect();
    (job, log)
}

#[test]
fn steps_hear_of_each_other_and_secrets_are_in_no_log() {
    let Some(gitea) = start("a job of several steps at a real Gitea") else { return };
    let secret = json!({"data": "very-secret"});
    let (status, answer) = gitea.call(Method::PUT, "orgs/acme/actions/secrets/KEY", Some(&secret));
    assert_eq!(status, 201, "{answer}");
    push(
        &gitea,
        "      - id: first
        run: |
          echo value=from the first >>$GITHUB_OUTPUT
          echo NAME=of all >>$GITHUB_ENV
          echo the secret is ${{ secrets.KEY }}
      - name: second
        env: {SAID: '${{ steps.first.outputs.value }}'}
        run: echo $SAID, $NAME, ${{ github.repository }}, $GITHUB_EVENT_NAME
      - if: failure()
        run: echo never
",
    );
    let runner = gitea.register("orgs/acme", "one", &["debian"], true);
    let (code, lines) = daemon(&gitea, &runner, &[]).ended();
    assert_eq!(code, Some(0), "{lines:?}");
    let version = concat!("v", env!("CARGO_PKG_VERSION"), "+testkit");
    let wanted = [
        "level=info msg=\"Starting runner daemon\"".to_owned(),
        format!(
            "level=info msg=\"runner: one, with version: {version}, with labels: [debian], declare successfully\""
        ),
        format!("level=info msg=\"task 1 repo is acme/app https://github.com {}\"", gitea.url()),
        "level=info msg=\"runner: one shutdown initiated, waiting 0s for running jobs to complete before shutting down\""
            .to_owned(),
    ];
    assert_eq!(lines, wanted);
    let (job, log) = over(&gitea);
    assert_eq!(job["conclusion"], "success", "{log:?}");
    for line in ["the secret is ***", "from the first, of all, acme/app, push", "🏁  Job succeeded"] {
        assert!(log.iter().any(|row| row == line), "no '{line}': {log:?}");
    }
    assert!(!log.iter().any(|row| row.contains("never")), "{log:?}");
    assert_eq!(gitea.runners("orgs/acme"), Vec::<Value>::new());
}

#[test]
fn a_failed_step_is_a_red_job_and_a_runner_that_ends_well() {
    let Some(gitea) = start("a failed job at a real Gitea") else { return };
    push(
        &gitea,
        "      - run: exit 3
      - run: echo never
      - if: failure()
        run: echo because it failed
      - uses: actions/checkout@v4
        if: always()
",
    );
    let runner = gitea.register("orgs/acme", "one", &["debian"], true);
    let (code, lines) = one_job(&gitea, &runner, &[]).ended();
    assert_eq!(code, Some(0), "{lines:?}");
    let (job, log) = over(&gitea);
    assert_eq!(job["conclusion"], "failure");
    // (The API tells of each step what became of the job.)
    for line in ["exitcode '3': failure", "because it failed", "🏁  Job failed"] {
        assert!(log.iter().any(|row| row == line), "no '{line}': {log:?}");
    }
    assert!(log.iter().any(|row| row.contains("Failure - Main actions/checkout@v4")), "{log:?}");
    assert!(!log.iter().any(|row| row == "never"), "{log:?}");
}

#[test]
fn a_long_log_is_whole() {
    let Some(gitea) = start("a long log at a real Gitea") else { return };
    push(&gitea, "      - run: seq 1 5000\n");
    let runner = gitea.register("orgs/acme", "one", &["debian"], true);
    assert_eq!(daemon(&gitea, &runner, &[]).ended().0, Some(0));
    let (_, log) = over(&gitea);
    let numbers: Vec<u32> = log.iter().filter_map(|row| row.parse().ok()).collect();
    assert_eq!(numbers, (1..=5000).collect::<Vec<_>>());
}

#[test]
fn an_ephemeral_runner_is_never_told_of_a_cancel_and_another_one_is() {
    let Some(gitea) = start("a cancelled job at a real Gitea") else { return };
    push(&gitea, "      - run: while [ ! -e $HOME/told ]; do sleep 0.1; done; echo >$HOME/end\n");
    let cancel = |runner: &Program, number: usize| {
        runner.says("task ");
        let running = wait_for(WITHIN, "the job to run", || {
            gitea.jobs("orgs/acme").into_iter().find(|job| job["status"] == "in_progress")
        });
        gitea.cancel_run("acme/app", running["run_id"].as_u64().unwrap());
        assert_eq!(gitea.completed("orgs/acme", number, WITHIN)[number - 1]["conclusion"], "cancelled");
    };
    let runner = daemon(&gitea, &gitea.register("orgs/acme", "one", &["debian"], true), &[]);
    cancel(&runner, 1);
    assert_eq!(gitea.runners("orgs/acme"), Vec::<Value>::new(), "it is gone at once");
    // The job goes on, all the same.
    fs::write(runner.path("told"), "").unwrap();
    wait_for(WITHIN, "the job to come to its end", || runner.path("end").exists().then_some(()));

    push(&gitea, "      - run: sleep 1000\n");
    let runner = daemon(&gitea, &gitea.register("orgs/acme", "two", &["debian"], false), &["--once"]);
    cancel(&runner, 2);
    assert_eq!(runner.ended().0, Some(0));
    assert_eq!(gitea.runners("orgs/acme").len(), 1, "it stays");
}

#[test]
fn without_a_job_one_waits_and_the_other_says_so() {
    let Some(gitea) = start("runners without a job at a real Gitea") else { return };
    let waiting = daemon(&gitea, &gitea.register("orgs/acme", "one", &["debian"], true), &[]);
    waiting.says("declare successfully");
    waiting.terminate();
    assert_eq!(waiting.ended().0, Some(0));

    let runner = gitea.register("orgs/acme", "two", &["debian"], true);
    let (code, lines) = one_job(&gitea, &runner, &[]).ended();
    assert_eq!(
        (code, lines.last().map(String::as_str)),
        (Some(2), Some("Error: no task received")),
        "{lines:?}"
    );
    let patient = one_job(&gitea, &runner, &["--wait"]);
    patient.says("received no task from");
    patient.terminate();
    assert_eq!(patient.ended().0, Some(0), "0 proves nothing");

    let patient = one_job(&gitea, &runner, &["--wait"]);
    patient.says("received no task from");
    push(&gitea, "      - run: sleep 1000\n");
    patient.says("successfully fetched one task");
    patient.terminate();
    assert_eq!(patient.ended().0, Some(0));
    assert_eq!(over(&gitea).0["conclusion"], "failure");
}

#[test]
fn a_runner_that_is_deleted_polls_on() {
    let Some(gitea) = start("a deleted runner at a real Gitea") else { return };
    let runner = gitea.register("orgs/acme", "one", &["debian"], true);
    let waiting = daemon(&gitea, &runner, &[]);
    waiting.says("declare successfully");
    let path = format!("orgs/acme/actions/runners/{}", runner.id);
    assert_eq!(gitea.call(Method::DELETE, &path, None).0, 204);
    waiting.says("error=\"unknown: rpc error: code = Unauthenticated desc = unregistered runner\"");
    waiting.terminate();
    assert_eq!(waiting.ended().0, Some(0));
    let (code, lines) = daemon(&gitea, &runner, &[]).ended();
    assert_eq!(code, Some(1), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("fail to invoke Declare")), "{lines:?}");
}
