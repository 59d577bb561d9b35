//! Jobs of a real Forgejo, where one is named.

use fireactions_testkit::real_gitea::{Place, RealGitea, Registered, forgejo, wait_for};

use crate::program::{Program, WITHIN};

const WORKFLOW: &str = "on: push
jobs:
  one:
    runs-on: debian
    steps:
      - run: echo one
  two:
    runs-on: debian
    steps:
      - run: exit 3
";

#[test]
fn each_runs_the_job_of_its_handle_and_nothing_is_no_failure() {
    let Some(program) = forgejo("jobs of a real Forgejo, by their handles") else { return };
    let forge = RealGitea::start(&program, &Place::default());
    forge.organization("acme");
    forge.repository("acme/app");
    forge.push_workflow("acme/app", "ci", WORKFLOW);
    let queue = || forge.forgejo_queue("orgs/acme");
    let queued = wait_for(WITHIN, "two jobs to wait", || Some(queue()).filter(|jobs| jobs.len() == 2));
    let run = |runner: &Registered, handle: &str| {
        let words =
            ["one-job", "--url", forge.url(), "--uuid", &runner.uuid, "--token-url", "file://DIR/token"];
        let words = [&words[..], &["--label", "debian:host", "--handle", handle]].concat();
        Program::start(&words, &[("token", &runner.token)]).ended()
    };
    for job in &queued {
        let (name, handle) = (job["name"].as_str().unwrap(), job["handle"].as_str().unwrap());
        let runner = forge.register_at_forgejo("orgs/acme", name);
        let (code, lines) = run(&runner, handle);
        assert_eq!(code, Some(0), "{lines:?}");
        assert!(queue().iter().all(|job| job["name"] != name), "{name} is done");
        let listed = forge.get("orgs/acme/actions/runners");
        assert!(listed.as_array().unwrap().is_empty(), "it was for one job: {listed}");
    }
    let late = forge.register_at_forgejo("orgs/acme", "late");
    let (code, lines) = run(&late, queued[0]["handle"].as_str().unwrap());
    assert_eq!(
        (code, lines.last().map(String::as_str)),
        (Some(2), Some("Error: no task received")),
        "{lines:?}"
    );
    let run = &forge.get("repos/acme/app/actions/runs")["workflow_runs"][0];
    assert_eq!(run["status"], "failure", "of its two jobs one failed");
}
