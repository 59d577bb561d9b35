//! How long the built-in queue takes for its durable steps, on the disk that the inputs are on.

use std::path::Path;
use std::time::{Duration, Instant};

use fireactions_forge::local::{LocalConfig, LocalForge};
use fireactions_model::{
    Forge, ImageRef, JobSpec, MachineId, Offer, Outcome, PhaseTimes, PoolName, PoolSpec, Program, Shape,
    Usage,
};
use fireactions_store::Store;
use tokio::sync::broadcast;

use crate::Args;
use fireactions_bench::report::{Report, median, millis, percentile};

/// Clients that submit at the same time, and how many jobs each.
const AT_ONCE: u32 = 16;
const EACH: u32 = 100;

pub(crate) async fn measure(args: &Args, work: &Path, report: &mut Report) -> anyhow::Result<()> {
    report.load("queue");
    let store = Store::open(work.join("queue"))?;
    let (events, _heard) = broadcast::channel(16);
    let forge = LocalForge::new(store.clone(), events, LocalConfig::default()).await?;
    one_by_one(args, &forge, report).await?;
    let rate = at_once(&forge).await?;
    report.row(format!("queue: submissions, {AT_ONCE} clients at once"), rate, "jobs/s");
    store.close().await;
    Ok(())
}

async fn one_by_one(args: &Args, forge: &LocalForge, report: &mut Report) -> anyhow::Result<()> {
    let shape = Shape { image: ImageRef::new("debian:12")?, vcpus: 1, memory_mib: 256, disk_mib: 1024 };
    let pool = PoolSpec::new(PoolName::new("bench")?, shape);
    let done = fireactions_model::Report {
        outcome: Outcome::Exited { code: 0 },
        usage: Usage::default(),
        phases: PhaseTimes::new(),
        notes: Vec::new(),
        autopsy: None,
    };
    let mut steps = [
        ("submitted, no files", Vec::new()),
        ("bound to a machine", Vec::new()),
        ("told started", Vec::new()),
        ("told finished", Vec::new()),
    ];
    for n in 0..u64::try_from(args.times(500, 20))? {
        let machine = MachineId::from_random(n.to_le_bytes());
        let offer = Offer { machine: machine.clone(), pool: pool.clone().into(), shape: pool.shape.clone() };
        let mut clock = Instant::now();
        let mut step = 0;
        let mut lap = || {
            steps[step].1.push(millis(clock.elapsed()));
            step += 1;
            clock = Instant::now();
        };
        let job = forge.submit(spec(), Vec::new()).await?.id;
        lap();
        forge.acquire(&offer).await?;
        lap();
        forge.started(&job, &machine).await?;
        lap();
        forge.finished(&job, &machine, &done).await?;
        lap();
    }
    for (what, times) in &steps {
        report.row(format!("queue, a job is {what}: p50"), median(times), "ms");
        report.row("  p99", percentile(times, 99), "ms");
    }
    Ok(())
}

/// Submissions a second.
async fn at_once(forge: &LocalForge) -> anyhow::Result<f64> {
    let began = Instant::now();
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let forge = forge.clone();
        writers.spawn(async move {
            for _ in 0..EACH {
                forge.submit(spec(), Vec::new()).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended??;
    }
    Ok(f64::from(AT_ONCE * EACH) / began.elapsed().max(Duration::from_nanos(1)).as_secs_f64())
}

fn spec() -> JobSpec {
    JobSpec::new(Program::Command { argv: vec!["true".to_owned()] })
}
