//! A real server with many machines that cost next to nothing: QEMU is the stand-in of `crates/standin`.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use fireactions_api::{Client, Target};
use fireactions_model::{JobId, JobRecord, JobSpec, MachineState, MachineView, PoolName};
use fireactions_testkit::{busybox, standin};

use crate::Args;
use fireactions_bench::server::{Server, Setup};

/// A thousand machines are made in a minute or two.
const DEADLINE: Duration = Duration::from_secs(900);
const PAUSE: Duration = Duration::from_millis(500);
const SOON: Duration = Duration::from_secs(60);
/// Job events a second that [`noise`] makes: half of them submissions, half of them cancellations.
pub(crate) const EVENTS: u64 = 500;

/// A pool: its name, which is its only label too, and how many machines it keeps and may have.
pub(crate) struct Pool(pub(crate) &'static str, pub(crate) usize, pub(crate) usize);

/// Where such a server lives. With `real`, QEMU is QEMU.
pub(crate) fn setup(args: &Args, state: &Path, real: bool, pools: &[Pool]) -> anyhow::Result<Setup> {
    let vmm = if real { String::new() } else { format!(", qemu_binary: {}", standin::program().display()) };
    // Much of everything: what is measured is the server, not the budget. 1,021 machines fit into a /22, and 1,023 ports
    // on a bridge.
    let mut more = format!(
        "shutdown: {{mode: kill}}\nvmm: {{cgroup_parent: fireactions-bench{vmm}}}\nhost: {{vcpus: 65536, memory_mib: 16777216}}\n\
         network: {{bridge: fabench2, subnet: 172.31.248.0/22, dns: []}}\npools:\n"
    );
    for Pool(name, min, max) in pools {
        writeln!(
            more,
            "  - name: {name}\n    min_runners: {min}\n    max_runners: {max}\n    disk_size_mib: 64\n\
             \x20   deadlines: {{boot: 5m, image: 10m}}\n\
             \x20   runner: {{image: '{image}', labels: [{name}]}}\n\
             \x20   firecracker: {{machine_config: {{vcpu_count: 1, mem_size_mib: 256}}}}",
            image = busybox::reference(),
        )?;
    }
    Setup::new(&args.programs, state, &more)
}

pub(crate) fn client(server: &Server) -> anyhow::Result<Client> {
    Ok(Client::new(Target::Socket(server.setup().socket()), None)?)
}

/// Waits until so many machines are ready and none is on its way; returns how long that took.
pub(crate) async fn ready(server: &mut Server, client: &Client, machines: usize) -> anyhow::Result<Duration> {
    let began = Instant::now();
    loop {
        server.must_live()?;
        let views = client.machines().await?;
        let ready = views.iter().filter(|view| view.state == MachineState::Ready).count();
        if ready == machines && views.len() == machines {
            return Ok(began.elapsed());
        }
        ensure!(began.elapsed() < DEADLINE, "{ready} of {machines} machines are ready after {DEADLINE:?}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Queues a job that plays (or, in a real machine, runs) this script.
pub(crate) async fn submit(client: &Client, pool: &str, script: &str) -> anyhow::Result<JobRecord> {
    let spec: JobSpec = serde_json::from_value(serde_json::json!({
        "labels": [pool], "program": {"command": {"argv": ["sh", "-c", script]}},
    }))?;
    Ok(client.submit(&spec, &[] as &[&Path]).await?)
}

/// The job once it is as wanted.
pub(crate) async fn job_when(
    client: &Client,
    id: &JobId,
    wanted: impl Fn(&JobRecord) -> bool,
) -> anyhow::Result<JobRecord> {
    let end = Instant::now() + SOON;
    loop {
        let job = client.job(id).await?;
        if wanted(&job) {
            return Ok(job);
        }
        ensure!(Instant::now() < end, "job {id} is still {}: {:?}", job.state, job.reason);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the pool has fewer machines than it may have.
pub(crate) async fn room(client: &Client, pool: &str) -> anyhow::Result<()> {
    let (pool, end) = (PoolName::new(pool)?, Instant::now() + SOON);
    loop {
        let view = client.pool(&pool).await?;
        if view.machines.values().sum::<u32>() < view.max_runners {
            return Ok(());
        }
        ensure!(Instant::now() < end, "pool {pool} is full after {SOON:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The machine that a job was bound to, while it is there.
pub(crate) async fn machine_of(client: &Client, job: &JobRecord) -> anyhow::Result<MachineView> {
    let id = job.machine.as_ref().context("the job has no machine")?;
    Ok(client.machine(id).await?)
}

/// Submits and cancels jobs that get no machine in the pool `full`, at a steady rate; eight at a time, for each waits for the disk.
pub(crate) async fn noise(
    client: Client,
    done: Arc<AtomicBool>,
    events: Arc<AtomicU64>,
) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(Duration::from_secs(2) / u32::try_from(EVENTS)?);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut pairs = tokio::task::JoinSet::new();
    while !done.load(Ordering::Relaxed) {
        tick.tick().await;
        if pairs.len() >= 8
            && let Some(ended) = pairs.join_next().await
        {
            ended??;
        }
        let (client, events) = (client.clone(), Arc::clone(&events));
        pairs.spawn(async move {
            let job = submit(&client, "full", "true").await?;
            events.fetch_add(1, Ordering::Relaxed);
            client.cancel(&job.id).await?;
            events.fetch_add(1, Ordering::Relaxed);
            anyhow::Ok(())
        });
    }
    while let Some(ended) = pairs.join_next().await {
        ended??;
    }
    Ok(())
}
