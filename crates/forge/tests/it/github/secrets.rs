//! No credential is in a log, in an argument, or in a file that stays.

use std::path::{Path, PathBuf};

use fireactions_testkit::github::{Fault, JobRequest, JobStatus};

use crate::common::log::Log;
use crate::github::farm::{Farm, SECRET, Setup, gate, github, open_gate, pool, processes, until};
use crate::github::queue::door;
use crate::github::{all_well, completed};

/// The secrets that are in it.
fn found<'a>(secrets: &'a [String], place: &[u8]) -> Vec<&'a str> {
    let text = String::from_utf8_lossy(place);
    secrets.iter().map(String::as_str).filter(|secret| text.contains(secret)).collect()
}

fn files(dir: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => files(&entry.path(), all),
            kind if kind.is_file() => all.push(entry.path()),
            _ => {}
        }
    }
}

/// The files below a directory that have a secret in them.
fn leaks(dir: &Path, secrets: &[String]) -> Vec<PathBuf> {
    let mut all = Vec::new();
    files(dir, &mut all);
    assert!(all.len() > 3, "{all:?}");
    // Files of programs that run may go at any time.
    all.retain(|file| std::fs::read(file).is_ok_and(|content| !found(secrets, &content).is_empty()));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_credential_is_in_a_log_an_argument_or_a_file_that_stays() {
    let log = Log::start();
    let (fake, app) = github();
    let mut setup =
        Setup::new(&app, vec![pool("set", &["debian"], 1, Some("fast")), pool("p", &["plain"], 1, None)]);
    setup.audit = std::time::Duration::from_millis(300);
    // What goes wrong is logged, too: answers that are lost, tokens that are not taken any more, storms.
    fake.fault(Fault::on("POST", "/orgs/acme/actions/runners/generate-jitconfig").lost_answer());
    fake.fault(
        Fault::on("POST", "/_actions/_apis/runtime/runnerscalesets/*/generatejitconfig").lost_answer(),
    );
    fake.fault(Fault::on("GET", "/_actions/_message/*").status(502, "Bad Gateway"));
    fake.fault(Fault::on("GET", "/orgs/acme/actions/runners").times(6).status(503, "Service Unavailable"));
    let farm = Farm::start(&fake, &setup).await;
    fake.webhook(&door(farm.github.clone()).await, SECRET);
    let script = gate(&farm, "over");
    let jobs = ["fast", "plain"]
        .map(|label| fake.queue_job(JobRequest::new("acme/widgets", &[label], &script).named(label)));
    until("both to run", || async {
        jobs.iter().all(|job| fake.job(*job).status == JobStatus::InProgress).then_some(())
    })
    .await;
    let mut secrets = fake.secrets();
    secrets.push(SECRET.to_owned());
    assert!(secrets.len() >= 7 && secrets.iter().all(|secret| secret.len() > 20), "{secrets:?}");

    let dir = farm.dir.path().canonicalize().unwrap();
    let programs = processes(&dir);
    assert!(programs.len() >= 2, "{programs:?}");
    for id in programs {
        let arguments = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        assert_eq!(
            found(&secrets, &arguments),
            Vec::<&str>::new(),
            "{}",
            String::from_utf8_lossy(&arguments)
        );
    }
    let rows = farm.rows().await;
    assert_eq!(found(&secrets, format!("{rows:?}").as_bytes()), Vec::<&str>::new());
    fake.revoke_tokens();
    fake.expire_admin_tokens();
    open_gate(&farm, "over");
    completed(&fake, &jobs).await;
    all_well(&fake, &jobs);
    until("the machines to end", || async { (farm.machines() == 0).then_some(()) }).await;
    until("the faults to be met", || async { (fake.faults_left() == 0).then_some(()) }).await;
    let left = farm.stop().await;

    secrets.extend(fake.secrets());
    assert_eq!(leaks(left.path(), &secrets), Vec::<PathBuf>::new());
    assert!(log.has("listening for jobs of the scale set"));
    assert_eq!(found(&secrets, &log.bytes()), Vec::<&str>::new());
}
