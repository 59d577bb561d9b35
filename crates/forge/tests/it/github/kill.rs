//! A server in a process of its own is killed with SIGKILL, and its machines with it, as when the host loses its power.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use fireactions_testkit::github::{AppKey, FakeGithub, JobId, JobRequest, JobStatus};

use crate::github::farm::{Farm, Place, Setup, github, pool, processes, until};
use crate::github::{completed, no_violations};

const DIR: &str = "FIREACTIONS_TEST_DIR";
/// Files by which the server is told what to do.
const URL: &str = "url";
const KEY: &str = "key.pem";
const APP: &str = "app";

/// Two pools that have one machine each, so a kill strikes two jobs at most.
fn setup(app: &AppKey) -> Setup {
    let pools = vec![pool("set", &["debian"], 1, Some("fast")), pool("p", &["plain"], 1, None)];
    let mut setup = Setup::new(app, pools);
    setup.audit = Duration::from_millis(700);
    setup.surplus = Duration::from_secs(1);
    setup
}

/// The server that is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by a_server_that_is_killed_with_jobs_under_way_loses_none, which kills it"]
async fn child_that_serves_until_it_is_killed() {
    let dir = PathBuf::from(std::env::var(DIR).unwrap());
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    let id = read(APP).parse().unwrap();
    let app = AppKey { id, client_id: String::new(), pkcs1: read(KEY), pkcs8: String::new() };
    let _farm = Farm::start_in(&read(URL), &setup(&app), Place::at(&dir)).await;
    std::future::pending::<()>().await;
}

/// That process and its machines, which are killed at the latest when the test ends.
struct Server {
    child: Child,
    dir: PathBuf,
}

impl Server {
    fn start(dir: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "github::kill::child_that_serves_until_it_is_killed",
                "--ignored",
                "--nocapture",
            ])
            .env(DIR, dir)
            .spawn()
            .unwrap();
        Self { child, dir: dir.canonicalize().unwrap() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // Until there is none that another has begun meanwhile.
        loop {
            let machines = processes(&self.dir);
            for id in &machines {
                let id = rustix::process::Pid::from_raw(*id).unwrap();
                let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
            }
            if machines.is_empty() {
                return;
            }
        }
    }
}

/// A runner has its credential, and its program has not used it.
fn is_registered(fake: &FakeGithub) -> bool {
    fake.runners().iter().any(|runner| !runner.online)
}

fn running(fake: &FakeGithub) -> Vec<JobId> {
    let running = fake.jobs().into_iter().filter(|job| job.status == JobStatus::InProgress);
    running.map(|job| job.id).collect()
}

fn ended(fake: &FakeGithub) -> usize {
    fake.jobs().len() - fake.open_jobs().len()
}

/// Waits for the moment and kills the server then. Gives the jobs that it was running.
async fn strike(fake: &FakeGithub, server: Server, when: impl Fn(&FakeGithub) -> bool) -> Vec<JobId> {
    until("the moment to kill the server", || async { when(fake).then_some(()) }).await;
    drop(server);
    let struck = running(fake);
    // GitHub misses runners that had a job after some minutes.
    for runner in fake.runners().iter().filter(|runner| runner.job.is_some()) {
        fake.lose_runner(&runner.name);
    }
    struck
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_with_jobs_under_way_loses_none() {
    let (fake, app) = github();
    fake.set_message_poll(Duration::from_millis(200));
    // A dead runner that is connected for GitHub may be given a job, and a dead server keeps its session.
    fake.set_pickup_timeout(Duration::from_secs(4));
    fake.set_session_timeout(Duration::from_secs(1));
    let place = Place::new();
    for (name, text) in [(URL, fake.url()), (KEY, app.pkcs1.clone()), (APP, app.id.to_string())] {
        std::fs::write(place.path().join(name), text).unwrap();
    }
    let jobs: Vec<_> = (0..12)
        .map(|n| {
            let label = if n % 2 == 0 { "fast" } else { "plain" };
            fake.queue_job(JobRequest::new("acme/widgets", &[label], "sleep 0.5").named(&format!("job {n}")))
        })
        .collect();
    let start = || Server::start(place.path());
    let mut struck = strike(&fake, start(), is_registered).await;
    struck.extend(strike(&fake, start(), |fake| !running(fake).is_empty()).await);
    let before = ended(&fake);
    struck.extend(strike(&fake, start(), |fake| ended(fake) > before && !running(fake).is_empty()).await);
    let struck: BTreeSet<JobId> = struck.into_iter().collect();
    assert!((1..=6).contains(&struck.len()), "{struck:?}");

    let farm = Farm::start_in(&fake.url(), &setup(&app), place).await;
    for job in completed(&fake, &jobs).await {
        assert_eq!(job.runs(), 1, "{job:#?}");
        // What a runner had begun when it was killed is GitHub's to judge; everything else is well.
        let well = job.conclusion.as_deref() == Some("success");
        assert!(well || struck.contains(&job.id), "{job:#?}");
    }
    until("no runner to be left", || async { fake.runners().is_empty().then_some(()) }).await;
    farm.stop().await;
    no_violations(&fake);
}
