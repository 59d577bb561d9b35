//! The stand-in runner, run by busybox's shell with nothing but busybox in its path.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use fireactions_testkit::github::{
    AssignmentResult, FakeGithub, Fault, JobRequest, JobStatus, RunnerFate, Scope, runner,
};

use super::client::{SOON, assert_clean, decoded};

fn world() -> FakeGithub {
    let fake = FakeGithub::local();
    fake.repository("octo/app");
    fake
}

fn octo() -> Scope {
    Scope::Organization("octo".into())
}

/// A directory with busybox's applets and the script.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let bin = home.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let busybox = busybox.expect("busybox (package busybox-static) is needed: run `make setup`");
    let listed = Command::new(busybox).arg("--list").output().unwrap();
    for applet in String::from_utf8(listed.stdout).unwrap().lines() {
        std::os::unix::fs::symlink(busybox, bin.join(applet)).unwrap();
    }
    std::fs::write(home.path().join("run.sh"), runner::SCRIPT).unwrap();
    home
}

fn start(home: &Path, jit: &str, more: &[(&str, &str)]) -> std::process::Child {
    let mut command = Command::new(home.join("bin/sh"));
    command.arg(home.join("run.sh")).env_clear().env("PATH", home.join("bin"));
    command.env("ACTIONS_RUNNER_INPUT_JITCONFIG", jit).envs(more.iter().copied());
    command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn finish(child: std::process::Child) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

#[test]
fn a_runner_runs_one_job_with_its_hooks_and_is_gone() {
    let fake = world();
    let home = home();
    let hook = |name: &str, text: &str| {
        let path = home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let before = hook("before", "echo before $GITHUB_REPOSITORY $GITHUB_JOB > ../hooked; env");
    let after = hook("after", "echo after $GITHUB_RUN_ID $GITHUB_SERVER_URL >> ../hooked");
    let hooks = [
        ("ACTIONS_RUNNER_HOOK_JOB_STARTED", before.as_str()),
        ("ACTIONS_RUNNER_HOOK_JOB_COMPLETED", after.as_str()),
    ];
    let jit = fake.jit_config(&octo(), "r1", &["GPU"]);
    let child = start(home.path(), &jit, &hooks);
    fake.wait_for("the runner is online", SOON, |fake| {
        fake.runners().into_iter().find(|runner| runner.online)
    });
    let job = fake.queue_job(JobRequest::new(
        "octo/app",
        &["self-hosted", "linux", "gpu"],
        "echo said $((6 * 7)); pwd",
    ));
    let job = fake.wait_completed(job, SOON);
    let (code, said) = finish(child);
    assert_eq!(code, Some(0), "{said}");
    for line in [
        "√ Connected to GitHub",
        ": Listening for Jobs",
        ": Running job: test",
        ": Job test completed with result: Succeeded",
    ] {
        assert!(said.contains(line), "{line} is not in {said}");
    }
    assert_eq!(job.conclusion.as_deref(), Some("success"));
    assert!(job.log.contains("said 42") && job.log.contains("_work/app/app"), "{}", job.log);
    assert!(!job.log.contains(&jit) && !job.log.contains("ACTIONS_RUNNER_INPUT_JITCONFIG"), "{}", job.log);
    assert_eq!((job.runs(), job.runner_name()), (1, Some("r1")));
    assert_eq!(job.assignments[0].outcome, Some(AssignmentResult::Succeeded));
    let hooked = std::fs::read_to_string(home.path().join("_work/app/hooked")).unwrap();
    assert_eq!(hooked, format!("before octo/app test\nafter {} {}\n", job.run_id, fake.url()));
    assert!(fake.runners().is_empty());
    assert_eq!(fake.all_runners()[0].fate, Some(RunnerFate::Done));
    assert_clean(&fake);
}

#[test]
fn a_failed_job_is_a_runner_that_did_its_work() {
    let fake = world();
    let job = fake.queue_job(JobRequest::new("octo/app", &["linux"], "echo no; exit 3"));
    let home = home();
    let (code, said) = finish(start(home.path(), &fake.jit_config(&octo(), "r1", &["a"]), &[]));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("completed with result: Failed"), "{said}");
    assert_eq!(fake.job(job).conclusion.as_deref(), Some("failure"));
    assert_clean(&fake);
}

#[test]
fn a_job_is_cancelled_under_its_runner() {
    let fake = world();
    let job = fake.queue_job(JobRequest::new("octo/app", &["linux"], "sleep 600 & wait"));
    let home = home();
    let child = start(home.path(), &fake.jit_config(&octo(), "r1", &["a"]), &[]);
    fake.wait_for("the job runs", SOON, |fake| (fake.job(job).status == JobStatus::InProgress).then_some(()));
    fake.cancel_job(job);
    let (code, said) = finish(child);
    assert_eq!((code, fake.job(job).conclusion.as_deref()), (Some(0), Some("cancelled")), "{said}");
    assert_clean(&fake);
}

#[test]
fn labels_decide_and_a_job_that_is_not_taken_goes_to_another() {
    let fake = world();
    let home = home();
    fake.set_pickup_timeout(Duration::from_secs(1));
    fake.set_offline_after(Duration::from_secs(3600));
    let wrong = start(home.path(), &fake.jit_config(&octo(), "wrong", &["cpu"]), &[]);
    // It says that it is online, and then nothing more.
    let mute = decoded(&fake.jit_config(&octo(), "mute", &["gpu"]));
    let (url, token) = (mute["url"].as_str().unwrap(), mute["token"].as_str().unwrap());
    let says = ["-q", "-O", "-", "--post-data", &format!("token={token}&nonce=1"), &format!("{url}/online")];
    let said = Command::new(home.path().join("bin/wget")).args(says).output().unwrap();
    assert_eq!(said.stdout, b"ok");
    fake.wait_for("both are online", SOON, |fake| {
        (fake.runners().iter().all(|runner| runner.online)).then_some(())
    });
    let job = fake.queue_job(JobRequest::new("octo/app", &["GPU"], "true"));
    fake.wait_for("it was tried and queued again", SOON, |fake| {
        (fake.job(job).assignments.first()?.outcome == Some(AssignmentResult::NotPickedUp)).then_some(())
    });
    fake.set_pickup_timeout(Duration::from_secs(3600));
    let good = start(home.path(), &fake.jit_config(&octo(), "good", &["gpu"]), &[]);
    let done = fake.wait_completed(job, SOON);
    assert_eq!((done.runs(), done.runner_name(), done.assignments.len()), (1, Some("good"), 2));
    finish(good);
    fake.delete_runner_by_hand("wrong");
    assert_eq!(finish(wrong).0, Some(1));
    assert_clean(&fake);
}

#[test]
fn a_runner_outlives_an_outage_and_answers_that_are_lost() {
    let fake = world();
    let home = home();
    let jit = fake.jit_config(&octo(), "r1", &["a"]);
    for path in ["online", "wait", "completed"] {
        fake.fault(Fault::on("POST", &format!("/_runner/{path}")).lost_answer());
    }
    let child = start(home.path(), &jit, &[]);
    fake.wait_for("it is online", SOON, |fake| fake.runners()[0].online.then_some(()));
    fake.down(Duration::from_millis(1500));
    let job = fake.queue_job(JobRequest::new("octo/app", &["linux"], "true"));
    let (code, said) = finish(child);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(fake.job(job).conclusion.as_deref(), Some("success"));
    assert_eq!((fake.unsound_jobs(), fake.open_jobs(), fake.faults_left()), (vec![], vec![], 0));
    assert_clean(&fake);
}

#[test]
fn of_many_jobs_none_is_lost_and_none_doubled() {
    let fake = world();
    let home = home();
    let jobs: Vec<_> = (0..8)
        .map(|at| fake.queue_job(JobRequest::new("octo/app", &["linux"], &format!("echo job {at}"))))
        .collect();
    fake.fault(Fault::on("POST", "/_runner/wait").times(3).after(2).lost_answer());
    let runners: Vec<_> = (0..8)
        .map(|at| start(home.path(), &fake.jit_config(&octo(), &format!("r{at}"), &["a"]), &[]))
        .collect();
    for runner in runners {
        assert_eq!(finish(runner).0, Some(0));
    }
    assert_eq!((fake.unsound_jobs(), fake.open_jobs()), (vec![], vec![]));
    for (at, job) in jobs.iter().enumerate() {
        assert_eq!(fake.job(*job).log, format!("job {at}\n"));
    }
    assert!(fake.runners().is_empty());
    assert_clean(&fake);
}

#[test]
fn an_idle_runner_that_is_gone_is_offline() {
    let fake = world();
    let home = home();
    fake.set_offline_after(Duration::from_secs(3));
    let mut child = start(home.path(), &fake.jit_config(&octo(), "r1", &["a"]), &[]);
    fake.wait_for("it is online", SOON, |fake| fake.runners()[0].online.then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    fake.wait_for("it is offline", SOON, |fake| (!fake.runners()[0].online).then_some(()));
    let job = fake.queue_job(JobRequest::new("octo/app", &["linux"], "true"));
    assert_eq!(fake.job(job).assignments, []);
    assert_clean(&fake);
}

#[test]
fn a_credential_used_twice_is_a_violation() {
    let fake = world();
    let home = home();
    let jit = fake.jit_config(&octo(), "r1", &["a"]);
    let first = start(home.path(), &jit, &[]);
    fake.wait_for("it is online", SOON, |fake| fake.runners()[0].online.then_some(()));
    assert_eq!(finish(start(home.path(), &jit, &[])).0, Some(5));
    assert_eq!(fake.violations(), ["the credential of runner r1 was used twice"]);
    fake.delete_runner_by_hand("r1");
    assert_eq!(finish(first).0, Some(1));
}

#[test]
fn a_deprecated_version_and_an_expired_credential_are_refused() {
    let fake = world();
    let home = home();
    fake.deprecate_runners(true);
    assert_eq!(finish(start(home.path(), &fake.jit_config(&octo(), "r1", &["a"]), &[])).0, Some(7));
    fake.deprecate_runners(false);
    let jit = fake.jit_config(&octo(), "r2", &["a"]);
    fake.expire_jit("r2");
    assert_eq!(finish(start(home.path(), &jit, &[])).0, Some(1));
    assert_eq!(finish(start(home.path(), "", &[])).0, Some(1));
    assert_clean(&fake);
}

#[test]
fn a_runner_that_dies_with_its_job_loses_it() {
    let fake = world();
    let home = home();
    fake.set_runner_silence(Duration::from_secs(4));
    let job = fake.queue_job(JobRequest::new("octo/app", &["linux"], "sleep 3"));
    let mut child = start(home.path(), &fake.jit_config(&octo(), "r1", &["a"]), &[]);
    fake.wait_for("the job runs", SOON, |fake| (fake.job(job).status == JobStatus::InProgress).then_some(()));
    // With everything that it started, as when a machine is gone.
    let group = format!("-{}", child.id());
    assert!(Command::new("kill").args(["-KILL", "--", &group]).status().unwrap().success());
    child.wait().unwrap();
    let lost = fake.wait_completed(job, SOON);
    assert_eq!(lost.assignments[0].outcome, Some(AssignmentResult::Lost));
    assert_eq!(fake.all_runners()[0].fate, Some(RunnerFate::Lost));
    assert_clean(&fake);
}
