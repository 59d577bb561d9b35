//! What a thousand machines cost the server: memory, processor time at rest, and how soon it decides while much
//! happens.
//!
//! A decision is measured in the whole server, by its own clock, from the moment a job is durably queued
//! (`queued_at`) to what is done about it:
//!
//! - a ready machine is there: the job is durably bound to it (phase `queued`);
//! - none is there: the making of a machine has begun (its row's `created_at`).
//!
//! Meanwhile jobs of another pool, which is full, are submitted and cancelled: each is a job event after which the
//! server looks at everything again.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use fireactions_api::Client;
use fireactions_model::{JobState, Phase};

use crate::Args;
use crate::fleet::{self, Pool};
use fireactions_bench::report::{Goal, Load, Report, median, percentile};
use fireactions_bench::server::Server;
use fireactions_bench::usage;

/// After which a server has come to rest.
const REST: Duration = Duration::from_secs(10);
/// Machines beside the ready ones.
const OTHERS: usize = 20;

pub(crate) fn measure(args: &Args, work: &Path, report: &mut Report) -> anyhow::Result<()> {
    report.load("a thousand machines");
    let machines = args.times(1000, 100);
    let ready = machines - OTHERS;
    // The first may hold more than it keeps ready: a busy machine is replaced.
    let pools = [Pool("warm", ready, ready + 10), Pool("cold", 0, OTHERS - 11), Pool("full", 0, 1)];
    let server = Server::start(fleet::setup(args, &work.join("thousand"), false, &pools)?)?;
    // This thread, and none that may end before, is the server's parent: see `Server::begin`.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(inside(args, server, ready, report))?.stop()
}

async fn inside(
    args: &Args,
    mut server: Server,
    ready: usize,
    report: &mut Report,
) -> anyhow::Result<Server> {
    let client = fleet::client(&server)?;
    let took = fleet::ready(&mut server, &client, ready).await?;
    #[allow(clippy::cast_precision_loss, reason = "a thousand")]
    let rate = ready as f64 / took.as_secs_f64();
    report.row(format!("{ready} stand-in machines from nothing"), rate, "machines/s");
    at_rest(args, &server, ready, report).await?;
    decisions(args, &client, ready, report).await?;
    report.row("  the server's memory afterwards", usage::resident(server.pid())?, "MiB");
    Ok(server)
}

async fn at_rest(args: &Args, server: &Server, ready: usize, report: &mut Report) -> anyhow::Result<()> {
    tokio::time::sleep(REST).await;
    let (began, used) = (Instant::now(), usage::cpu_of_process(server.pid())?);
    tokio::time::sleep(Duration::from_secs(if args.quick { 20 } else { 60 })).await;
    let used = usage::cpu_of_process(server.pid())?.saturating_sub(used);
    let share = used.as_secs_f64() / began.elapsed().as_secs_f64() * 100.0;
    report.judged(
        format!("{ready} idle machines: the server's CPU time, its `nft` included"),
        share,
        "% of a core",
        Goal::AtMost(1.0),
    );
    report.judged(
        format!("{ready} idle machines: the server's memory"),
        usage::resident(server.pid())?,
        "MiB",
        Goal::AtMost(60.0),
    );
    Ok(())
}

async fn decisions(args: &Args, client: &Client, ready: usize, report: &mut Report) -> anyhow::Result<()> {
    let holder = fleet::submit(client, "full", "hang").await?;
    fleet::job_when(client, &holder.id, |job| job.state == JobState::Running).await?;
    let (done, events) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let noise = tokio::spawn(fleet::noise(client.clone(), Arc::clone(&done), Arc::clone(&events)));
    let (mut bound, mut begun) = (Vec::new(), Vec::new());
    let began = Instant::now();
    let measured = async {
        for _ in 0..args.times(200, 20) {
            let job = fleet::submit(client, "warm", "true").await?;
            let job = fleet::job_when(client, &job.id, |job| job.state.is_final()).await?;
            ensure!(job.state == JobState::Succeeded && job.attempt == 1, "{job:?}");
            let micros = job.phases.get(&Phase::Queued).context("the job has no phase `queued`")?;
            #[allow(clippy::cast_precision_loss, reason = "seconds at most")]
            bound.push(*micros as f64 / 1e3);

            // What a job waits for in a full pool is no decision's time.
            fleet::room(client, "cold").await?;
            let job = fleet::submit(client, "cold", "sleep 1").await?;
            let job = fleet::job_when(client, &job.id, |job| job.machine.is_some()).await?;
            let machine = fleet::machine_of(client, &job).await?;
            begun.push(machine.created_at.duration_since(job.queued_at).as_secs_f64() * 1e3);
        }
        anyhow::Ok(())
    }
    .await;
    done.store(true, Ordering::Relaxed);
    let took = began.elapsed();
    noise.await??;
    measured?;
    client.cancel(&holder.id).await?;
    #[allow(clippy::cast_precision_loss, reason = "some thousand")]
    let rate = events.load(Ordering::Relaxed) as f64 / took.as_secs_f64();
    report.row(format!("decisions with {ready} machines: other job events meanwhile"), rate, "events/s");
    #[allow(clippy::cast_precision_loss, reason = "some hundred")]
    let load = Load { wanted: fleet::EVENTS as f64, reached: rate, unit: "events/s" };
    for (what, times) in [("queued → bound to a ready machine", &bound), ("queued → machine begun", &begun)]
    {
        report.row(format!("  {what}: p50"), median(times), "ms");
        report.judged_under(load, format!("  {what}: p99"), percentile(times, 99), "ms", Goal::AtMost(10.0));
    }
    report.note(format!(
        "decisions: {} of each kind, one after another, in the whole server by its own clock, from the job's durable \
         `queued_at`; the other events are submissions and cancellations of jobs of a full pool ({}/s wanted)",
        bound.len(),
        fleet::EVENTS
    ));
    Ok(())
}
