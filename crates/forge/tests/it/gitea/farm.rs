//! A server's part of the work without VMs, for a Gitea or a Forgejo: each machine plays the runner whose credential it is
//! given.

use std::sync::Arc;
use std::time::Duration;

use fireactions_forge::gitea::{self, GiteaSettings};
use fireactions_forge::local::{LocalConfig, LocalForge};
use fireactions_forge::{Forges, HostedForge, HostedSettings, WebhookSecrets};
use fireactions_gitea::{Gitea, Kind, Settings, Timeouts};
use fireactions_model::{
    Forge, ForgeName, ForgeRunner, GiteaRunner, JobCaches, JobRecord, MachineId, Outcome, Output, PoolSpec,
    Secret, Stream, Work, WorkSource,
};
use fireactions_store::{JobFilter, Store};
use fireactions_testkit::gitea::runner::{FakeRunner, Outcome as Result};
use fireactions_testkit::gitea::{FakeGitea, Release};
use fireactions_testkit::pools;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::gates::Gates;
use crate::github::farm::{Idle, Machines, Place, keep, report, watched};

/// A server's second: this forge is near.
const PACE: Duration = Duration::from_millis(100);

/// The webhook's secret.
pub(crate) const SECRET: &str = "It's a Secret to Everybody";

/// The gate before the question for work, where runners are held.
pub(crate) const ASK: &str = "ask";

/// A server with an organization, two repositories, and a token that may do all.
pub(crate) fn server(release: Release) -> (FakeGitea, String) {
    let fake = FakeGitea::local(release);
    fake.site_admin("boss");
    fake.organization("acme", "boss");
    fake.repository("acme/app");
    fake.repository("acme/other");
    let token = fake.token("boss", &["all"]);
    (fake, token)
}

/// A pool of the organization's.
pub(crate) fn pool(fake: &FakeGitea, name: &str, labels: &[&str], max: u32) -> PoolSpec {
    of_scope(fake, name, "orgs/acme", labels, max)
}

pub(crate) fn of_scope(fake: &FakeGitea, name: &str, scope: &str, labels: &[&str], max: u32) -> PoolSpec {
    let labels = labels.iter().map(ToString::to_string).collect();
    let runner = GiteaRunner { labels, ..GiteaRunner::new(scope.parse().unwrap()) };
    let runner =
        if fake.release().is_gitea() { ForgeRunner::Gitea(runner) } else { ForgeRunner::Forgejo(runner) };
    PoolSpec { max_runners: max, ..pools::of_forge(name, forge_name(), runner) }
}

pub(crate) fn forge_name() -> ForgeName {
    ForgeName::new("work").unwrap()
}

/// How the server is set up.
pub(crate) struct Setup {
    pub(crate) pools: Vec<PoolSpec>,
    pub(crate) token: Option<String>,
    pub(crate) registration: Option<String>,
    pub(crate) poll: Duration,
    pub(crate) audit: Duration,
    pub(crate) surplus: Duration,
    pub(crate) webhook: bool,
    /// Runners stop at the gate [`ASK`] before they ask for work.
    pub(crate) held: bool,
    /// It has the jobs with other hosts.
    pub(crate) shared: bool,
    /// The host's cache of jobs.
    pub(crate) caches: Option<Arc<dyn JobCaches>>,
}

impl Setup {
    pub(crate) fn new(token: &str, pools: Vec<PoolSpec>) -> Self {
        Self {
            pools,
            token: Some(token.to_owned()),
            registration: None,
            poll: PACE,
            audit: Duration::from_secs(3600),
            surplus: Duration::from_secs(90),
            webhook: true,
            held: false,
            shared: false,
            caches: None,
        }
    }
}

/// A running server, as far as it matters here.
pub(crate) struct Farm {
    pub(crate) dir: Place,
    pub(crate) store: Store,
    pub(crate) forge: HostedForge,
    /// Where its runners wait to be told.
    pub(crate) gates: Gates,
    forges: Forges,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    machines: Machines,
    idle: Idle,
}

impl Farm {
    pub(crate) async fn start(fake: &FakeGitea, setup: &Setup) -> Self {
        Self::start_in(fake, setup, Place::new()).await
    }

    /// Starts where another server was.
    pub(crate) async fn start_in(fake: &FakeGitea, setup: &Setup, dir: Place) -> Self {
        let store = Store::open(dir.path().join("state")).unwrap();
        let (events, _) = broadcast::channel(1024);
        let local = LocalForge::new(store.clone(), events.clone(), LocalConfig::default()).await.unwrap();
        let secret = |text: &Option<String>| {
            let text = text.clone()?;
            Some(Arc::new(move || Ok(Secret::new(text.clone()))) as fireactions_gitea::SecretSource)
        };
        let client = Settings {
            kind: if fake.release().is_gitea() { Kind::Gitea } else { Kind::Forgejo },
            url: fake.url().parse().unwrap(),
            token: secret(&setup.token),
            registration_token: secret(&setup.registration),
            ca_pem: None,
            proxy: None,
            insecure_http: false,
        };
        let timeouts = Timeouts { backoff: PACE / 2, ..Timeouts::default() };
        let client = Gitea::with_timeouts(client, timeouts).unwrap();
        let hosted = HostedSettings {
            audit_interval: setup.audit,
            surplus_after: setup.surplus,
            pace: PACE,
            caches: setup.caches.clone(),
            shared: setup.shared,
            webhook: setup.webhook.then(|| Arc::new(|| vec![Ok(Secret::new(SECRET))]) as WebhookSecrets),
            ..HostedSettings::new("host")
        };
        let own = GiteaSettings { poll_interval: setup.poll, reads_queue: setup.token.is_some() };
        let forge = gitea::forge(forge_name(), local.clone(), events, client, (hosted, own), &setup.pools)
            .await
            .unwrap();
        let forges = Forges::new(local, [forge.clone()]);
        forges.recover().await.unwrap();
        let stop = CancellationToken::new();
        let (machines, idle) = (Machines::default(), Idle::default());
        let gates = Gates::default();
        if !setup.held {
            gates.open(ASK);
        }
        let at_gates = gates.clone();
        let perform =
            move |forges: Forges, id: MachineId, work: Work| play(forges, id, work, at_gates.clone());
        let shared = (Arc::clone(&machines), Arc::clone(&idle));
        let keeping = keep(forges.clone(), setup.pools.clone(), shared, stop.clone(), perform);
        let tasks =
            vec![tokio::spawn(forge.clone().run(setup.pools.clone(), stop.clone())), tokio::spawn(keeping)];
        Self { dir, store, forge, gates, forges, stop, tasks, machines, idle }
    }

    /// Ends it as SIGTERM does. Gives what it leaves.
    pub(crate) async fn stop(self) -> Place {
        self.stop.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
        for (_, machine) in self.machines.lock().unwrap().drain() {
            machine.abort();
        }
        self.store.close().await;
        self.dir
    }

    pub(crate) async fn rows(&self) -> Vec<JobRecord> {
        self.store.jobs(JobFilter::default()).await.unwrap()
    }

    /// Gives, whenever it is asked, how many machines there are and how many of them wait for work.
    pub(crate) fn watched(&self) -> impl Fn() -> (u32, u32) + Send + Sync + 'static {
        watched(&self.machines, &self.idle)
    }

    /// Machines that there are.
    pub(crate) fn machines(&self) -> usize {
        self.machines.lock().unwrap().values().filter(|machine| !machine.is_finished()).count()
    }

    /// Those that have work. One whose job another server has taken waits for the next.
    pub(crate) fn at_work(&self) -> usize {
        let (machines, idle) = (self.machines.lock().unwrap(), self.idle.lock().unwrap());
        machines.iter().filter(|(id, machine)| !machine.is_finished() && !idle.contains(*id)).count()
    }

    /// Kills every machine, as a host that loses its power.
    pub(crate) async fn lose_machines(&self) {
        let all: Vec<_> = self.machines.lock().unwrap().drain().collect();
        for (machine, task) in all {
            task.abort();
            let _ = task.await;
            let row = self.rows().await.into_iter().find(|row| row.machine.as_ref() == Some(&machine));
            if let Some(row) = row.filter(|row| !row.state.is_final()) {
                let report = report(Outcome::Lost { reason: "the VMM was killed".to_owned() }, Vec::new());
                self.forges.finished(&row.id, &machine, &report).await.unwrap();
            }
        }
    }
}

/// A file that the machine is given.
fn file(work: &Work, name: &str) -> Option<String> {
    let found = work.files.iter().find(|file| file.dest == format!("/run/fireactions-runner/{name}"))?;
    let WorkSource::Secret(text) = &found.source else { panic!("{found:?}") };
    Some(text.expose().to_owned())
}

fn play(forges: Forges, id: MachineId, work: Work, gates: Gates) -> BoxFuture<'static, ()> {
    async move {
        forges.started(&work.job, &id).await.unwrap();
        let told = tokio::select! {
            code = runner(&forges, &id, &work, &gates) => Outcome::Exited { code },
            _ = forges.cancelled(&work.job) => Outcome::Cancelled,
        };
        let mut notes = Vec::new();
        let verdict = forges.judge(&work.job, told, &mut notes).await;
        notes.extend(verdict.unused.map(|unused| format!("unused: {unused}")));
        forges.finished(&work.job, &id, &report(verdict.outcome, notes)).await.unwrap();
    }
    .boxed()
}

/// What act_runner and `forgejo-runner one-job` do with their files; a job's step is a word: `succeed`, `fail`, or the name of
/// a gate. Gives the exit code.
async fn runner(forges: &Forges, id: &MachineId, work: &Work, gates: &Gates) -> i32 {
    let known = file(work, ".runner").expect("a credential");
    let runner = FakeRunner::from_file(&known);
    let env = |name: &str| work.env.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value);
    let labels: Vec<&str> = env("FIREACTIONS_RUNNER_LABELS").split(' ').collect();
    let handle = env("FIREACTIONS_RUNNER_HANDLE");
    let mut offset = 0;
    let mut say = async |text: &str| {
        let data = format!("time=\"2026-11-29T00:55:42Z\" level=info msg=\"{text}\"\n").into_bytes();
        let output = Output { offset, stream: Stream::Stdout, data };
        offset += u64::try_from(output.data.len()).unwrap();
        forges.output(&work.job, id, output).await.unwrap();
    };
    if runner.declare(&labels).await.is_err() {
        return 1;
    }
    say("runner: x, with labels: [x], declare successfully").await;
    gates.pass(ASK).await;
    let task = loop {
        // The real ones go on when a server does not answer, or knows them no more.
        let fetched =
            if handle.is_empty() { runner.fetch().await } else { runner.fetch_single(handle).await };
        match fetched {
            Ok(Some(task)) => break task,
            Ok(None) if !handle.is_empty() => return 2,
            Ok(None) | Err(_) => tokio::time::sleep(PACE / 2).await,
        }
    };
    let repository = task.context["repository"].as_str().unwrap();
    say(&format!("task {} repo is {repository} https://github.com http://127.0.0.1:1", task.id)).await;
    let _ = runner.heartbeat(&task).await;
    let step = task.workflow.rsplit_once("run: ").unwrap().1.trim().trim_matches('"').to_owned();
    let result = match step.as_str() {
        "succeed" => Result::Success,
        "fail" => Result::Failure,
        gate => {
            gates.pass(gate).await;
            Result::Success
        }
    };
    // What the server says against it is of no interest to anybody: the runner tries ten times and returns 0.
    for _ in 0..10 {
        let told = async {
            runner.log(&task, 0, &["hello world"], true).await?;
            runner.finish(&task, result).await
        };
        if told.await.is_ok() {
            break;
        }
        tokio::time::sleep(PACE).await;
    }
    0
}
