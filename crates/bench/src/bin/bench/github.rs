//! GitHub's jobs through the real server. GitHub is the fake of `crates/testkit`, in this process.
//!
//! A decision is measured by the server's own clock, from the moment before a webhook is sent to the machine that it makes
//! (its row's `created_at`); other deliveries come meanwhile, of jobs of a pool that is paused. Machines are stand-ins
//! there; where runners are started, they are real.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use fireactions_api::{Client, JobFilter};
use fireactions_model::{JobRecord, MachineState};
use fireactions_testkit::github::{FakeGithub, Hookshot, JobRequest, runner};
use fireactions_testkit::{busybox, standin};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Args;
use crate::fleet;
use crate::hosted::{self, loopback_up, machines_of, private, until};
use fireactions_bench::report::{Goal, Load, Report, median, percentile};
use fireactions_bench::server::{Server, Setup};

/// Deliveries a second beside those that are measured: half of them of jobs that are queued, half of their ends.
const DELIVERIES: u64 = 500;
const PORT: u16 = 18_099;
const HOOK: u16 = 18_098;
const SECRET: &str = "a secret of the bench";
const SOON: Duration = Duration::from_secs(60);
/// A machine boots in seconds, under emulation on a busy host in many.
const BOOT: Duration = Duration::from_secs(240);
/// Warm machines where runners are started.
const WARM: usize = 2;

pub(crate) fn measure(args: &Args, work: &Path, report: &mut Report) -> anyhow::Result<()> {
    report.load("GitHub");
    loopback_up()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let github = Octoworld::new(work)?;
    let server = Server::start(github.setup(args, &work.join("github-decisions"), false)?)?;
    server.run(&["pools", "pause", "full"])?;
    runtime.block_on(decisions(args, &github, &server, report))?;
    runtime.block_on(servers_part(args, &github, &server, report))?;
    server.stop()?;
    let server = Server::start(github.setup(args, &work.join("github-warm"), true)?)?;
    runtime.block_on(warm(args, &github, &server, report))?;
    server.stop()?;
    let violations = github.fake.violations();
    ensure!(violations.is_empty(), "against GitHub's description: {violations:?}");
    Ok(())
}

/// A GitHub with one organization, and what the server needs for it.
struct Octoworld {
    fake: FakeGithub,
    app: u64,
    files: std::path::PathBuf,
}

impl Octoworld {
    fn new(work: &Path) -> anyhow::Result<Self> {
        let files = work.join("github");
        std::fs::create_dir(&files)?;
        let (fake, app) = hosted::github(&files, PORT)?;
        fake.set_runner_url(&format!("http://172.31.243.1:{PORT}"));
        private(&files.join("secret"), SECRET)?;
        let layers = [busybox::layer(), busybox::layer_of("home/runner/run.sh", runner::SCRIPT.as_bytes())];
        std::fs::write(files.join("image.tar"), busybox::archive(&layers))?;
        Ok(Self { fake, app, files })
    }

    /// Where a server of this organization lives, with real machines or with stand-ins.
    fn setup(&self, args: &Args, state: &Path, real: bool) -> anyhow::Result<Setup> {
        let files = self.files.display();
        let vmm =
            if real { String::new() } else { format!(", qemu_binary: {}", standin::program().display()) };
        let mut more = format!(
            "shutdown: {{mode: kill}}\nvmm: {{cgroup_parent: fireactions-bench{vmm}}}\nhost: {{vcpus: 64, memory_mib: 65536}}\n\
             network: {{bridge: fabench3, subnet: 172.31.243.0/24, dns: []}}\n\
             github:\n  url: {url}\n  app_id: {app}\n  app_private_key_file: {files}/key.pem\n  \
             webhook: {{listen: '127.0.0.1:{HOOK}', secret_file: {files}/secret}}\npools:\n",
            url = self.fake.url(),
            app = self.app,
        );
        let pools: &[(&str, usize, &str)] = if real {
            &[("warm", WARM, "false"), ("set", WARM, "set")]
        } else {
            &[("cold", 0, "false"), ("full", 0, "false"), ("ready", WARM, "false")]
        };
        for (name, min, set) in pools {
            writeln!(
                more,
                "  - name: {name}\n    min_runners: {min}\n    max_runners: 10\n    disk_size_mib: 64\n\
                 \x20   deadlines: {{boot: 5m, image: 10m}}\n    network: {{host_ports: [tcp/{PORT}]}}\n\
                 \x20   runner: {{image: 'oci-archive:{files}/image.tar', labels: [{name}], organization: acme, scale_set: {set}}}\n\
                 \x20   firecracker: {{machine_config: {{vcpu_count: 1, mem_size_mib: 256}}}}",
            )?;
        }
        Setup::new(&args.programs, state, &more)
    }

    /// Something that sends webhooks of jobs which ask for this label. The jobs are nowhere but in what it sends.
    fn sender(&self, label: &str) -> Sender {
        let job = self.fake.hold_job(JobRequest::new("acme/widgets", &[label], "true"));
        Sender {
            hookshot: Hookshot::new(&format!("http://127.0.0.1:{HOOK}/webhook/github"), SECRET),
            queued: self.fake.payload(job, "queued"),
        }
    }
}

#[derive(Clone)]
struct Sender {
    hookshot: Hookshot,
    queued: Value,
}

impl Sender {
    /// Tells that a job of this number is queued, or is over; gives the milliseconds to the answer.
    async fn tell(&self, job: u64, over: bool) -> anyhow::Result<f64> {
        let mut payload = self.queued.clone();
        let (action, conclusion) =
            if over { ("completed", json!("cancelled")) } else { ("queued", Value::Null) };
        payload["action"] = action.into();
        payload["workflow_job"]["id"] = job.into();
        payload["workflow_job"]["status"] = action.into();
        payload["workflow_job"]["conclusion"] = conclusion;
        let (status, took) =
            self.hookshot.send("workflow_job", &payload).await.map_err(|error| anyhow::anyhow!(error))?;
        ensure!(status == 202, "a delivery was answered with {status}");
        Ok(took.as_secs_f64() * 1e3)
    }
}

async fn decisions(
    args: &Args,
    github: &Octoworld,
    server: &Server,
    report: &mut Report,
) -> anyhow::Result<()> {
    let client = fleet::client(server)?;
    let (done, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let noise = tokio::spawn(noise(github.sender("full"), Arc::clone(&done), Arc::clone(&sent)));
    let sender = github.sender("cold");
    let mut times = Vec::new();
    let began = Instant::now();
    let measured = async {
        for n in 0..args.times(100, 10) {
            let job = 1_000 + u64::try_from(n)?;
            let sent_at = Timestamp::now();
            sender.tell(job, false).await?;
            let made = machine_since(&client, "cold", sent_at).await?;
            times.push(made.duration_since(sent_at).as_secs_f64() * 1e3);
            sender.tell(job, true).await?;
            no_machines(&client, "cold").await?;
        }
        anyhow::Ok(())
    }
    .await;
    done.store(true, Ordering::Relaxed);
    let took = began.elapsed();
    let others = noise.await??;
    measured?;
    #[allow(clippy::cast_precision_loss, reason = "some thousand")]
    let rate = sent.load(Ordering::Relaxed) as f64 / took.as_secs_f64();
    report.row("GitHub's webhook: other deliveries meanwhile", rate, "deliveries/s");
    report.row("  delivery → answer: p50", median(&others), "ms");
    #[allow(clippy::cast_precision_loss, reason = "some hundred")]
    let load = Load { wanted: DELIVERIES as f64, reached: rate, unit: "deliveries/s" };
    let answered = percentile(&others, 99);
    report.judged_under(load, "  delivery → answer: p99", answered, "ms", Goal::AtMost(10.0));
    report.row("  delivery → machine begun: p50", median(&times), "ms");
    report.row("  delivery → machine begun: p99", percentile(&times, 99), "ms");
    report.note(format!(
        "webhook: {} decisions, one after another, from before the delivery is sent to the machine's durable row, by one \
         clock; the other deliveries ({DELIVERIES}/s wanted) are of jobs of a paused pool, each signed, and each a reason to look at \
         everything again; sender, fake GitHub and server share this host's processors",
        times.len()
    ));
    Ok(())
}

/// Tells of jobs that get no machine, and of their ends, at a steady rate. Gives the milliseconds to each answer.
async fn noise(sender: Sender, done: Arc<AtomicBool>, sent: Arc<AtomicU64>) -> anyhow::Result<Vec<f64>> {
    let mut tick = tokio::time::interval(Duration::from_secs(2) / u32::try_from(DELIVERIES)?);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut pairs = tokio::task::JoinSet::new();
    let mut answers = Vec::new();
    let mut job = 1_000_000;
    while !done.load(Ordering::Relaxed) || !pairs.is_empty() {
        if done.load(Ordering::Relaxed) || pairs.len() >= 16 {
            if let Some(ended) = pairs.join_next().await {
                let pair: anyhow::Result<[f64; 2]> = ended?;
                answers.extend(pair?);
            }
            continue;
        }
        tick.tick().await;
        job += 1;
        let (sender, sent) = (sender.clone(), Arc::clone(&sent));
        pairs.spawn(async move {
            let pair = [sender.tell(job, false).await?, sender.tell(job, true).await?];
            sent.fetch_add(2, Ordering::Relaxed);
            Ok(pair)
        });
    }
    Ok(answers)
}

async fn machine_since(client: &Client, pool: &str, since: Timestamp) -> anyhow::Result<Timestamp> {
    let made = async || {
        let machines = machines_of(client, pool).await?.into_iter();
        Ok(machines.map(|machine| machine.created_at).find(|made| *made >= since))
    };
    until(SOON, "a machine for the job", made).await
}

/// Waits until the pool has no machine. One whose job was over before it was ready would stay for a while.
async fn no_machines(client: &Client, pool: &str) -> anyhow::Result<()> {
    let gone = async || {
        let machines = machines_of(client, pool).await?;
        for machine in machines.iter().filter(|machine| machine.state == MachineState::Ready) {
            // It may have begun something meanwhile, and goes after that.
            let _ = client.remove_machine(&machine.id).await;
        }
        Ok(machines.is_empty().then_some(()))
    };
    until(SOON, "the last machine to go", gone).await
}

/// From a webhook to the runner's process on a warm machine whose guest costs nothing: what the server has its part in.
async fn servers_part(
    args: &Args,
    github: &Octoworld,
    server: &Server,
    report: &mut Report,
) -> anyhow::Result<()> {
    let client = fleet::client(server)?;
    let sender = github.sender("ready");
    let mut times = Vec::new();
    for n in 0..args.times(50, 5) {
        all_ready(&client, "ready").await?;
        let job = 2_000_000 + u64::try_from(n)?;
        let sent_at = Timestamp::now();
        sender.tell(job, false).await?;
        let started = started(&client, sent_at).await?.started_at.context("the runner was not started")?;
        times.push(started.duration_since(sent_at).as_secs_f64() * 1e3);
        sender.tell(job, true).await?;
    }
    let what = "GitHub, webhook: queued → runner started on a warm stand-in machine: p50";
    report.judged(what, median(&times), "ms", Goal::AtMost(50.0));
    report.row("  p99", percentile(&times, 99), "ms");
    Ok(())
}

/// Runners on machines that wait for them, one at a time: how soon they start, and what a job costs in requests.
async fn warm(args: &Args, github: &Octoworld, server: &Server, report: &mut Report) -> anyhow::Result<()> {
    let client = fleet::client(server)?;
    let fake = &github.fake;
    fake.webhook(&format!("http://127.0.0.1:{HOOK}/webhook/github"), SECRET);
    for (pool, signal) in [("warm", "webhook"), ("set", "scale set")] {
        let (mut times, count) = (Vec::new(), args.times(12, 3));
        let mut requests = (0, 0);
        for n in 0..=count {
            all_ready(&client, pool).await?;
            if n == 1 {
                // The first job is for what is asked once: tokens, groups.
                requests = counted(fake);
            }
            let queued = Timestamp::now();
            let job = fake.queue_job(JobRequest::new("acme/widgets", &[pool], "true"));
            let row = started(&client, queued).await?;
            let started = row.started_at.context("the runner was not started")?;
            if n > 0 {
                times.push(started.duration_since(queued).as_secs_f64() * 1e3);
            }
            let waiting = fake.clone();
            let ended = tokio::task::spawn_blocking(move || waiting.wait_completed(job, BOOT)).await?;
            ensure!(ended.conclusion.as_deref() == Some("success") && ended.runs() == 1, "{ended:?}");
        }
        all_ready(&client, pool).await?;
        let (rest, service) = counted(fake);
        #[allow(clippy::cast_precision_loss, reason = "some dozen")]
        let a_job = |requests: u64| requests as f64 / count as f64;
        report.row(
            format!("GitHub, {signal}: queued → runner started on a warm machine: fastest"),
            percentile(&times, 0),
            "ms",
        );
        report.judged("  p50", median(&times), "ms", Goal::AtMost(50.0));
        report.judged("  REST requests a job", a_job(rest - requests.0), "requests", Goal::AtMost(3.0));
        report.row(
            "  requests to the Actions service a job, without open polls",
            a_job(service - requests.1),
            "requests",
        );
    }
    report.note(format!(
        "runners: {WARM} warm machines of 1 vCPU and 256 MiB a pool, one job at a time, from before the fake GitHub queues \
         the job to the job's durable `started_at`: signal, decision, registration at the fake, delivery to the guest and the \
         start of the program there, all of which an emulated guest takes long for; requests are counted at the fake, without what runners send themselves"
    ));
    Ok(())
}

/// Requests that count against the REST API's limits, and those to the Actions service.
fn counted(fake: &FakeGithub) -> (u64, u64) {
    let calls = fake.calls();
    let service = calls
        .by_route
        .iter()
        .filter(|(route, _)| route.contains(" /_actions") && !route.starts_with("GET /_actions/_message"));
    (calls.rest(), service.map(|(_, count)| count).sum())
}

/// Waits until the pool has its warm machines, and no other.
async fn all_ready(client: &Client, pool: &str) -> anyhow::Result<()> {
    let ready = async || {
        let machines = machines_of(client, pool).await?;
        let all =
            machines.len() == WARM && machines.iter().all(|machine| machine.state == MachineState::Ready);
        Ok(all.then_some(()))
    };
    until(BOOT, "the warm machines", ready).await?;
    // What is only just ready has its template, its log and its rules still to settle.
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(())
}

/// The row of the runner that was started since then.
async fn started(client: &Client, since: Timestamp) -> anyhow::Result<JobRecord> {
    let row = async || {
        let rows = client.jobs(&JobFilter { state: None, active: false, limit: Some(5) }).await?;
        Ok(rows.into_iter().find(|row| row.started_at.is_some_and(|started| started >= since)))
    };
    until(BOOT, "the start of a runner", row).await
}
