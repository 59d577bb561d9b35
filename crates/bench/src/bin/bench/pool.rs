//! Jobs a minute through the real server, and its memory.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use serde_json::Value;

use crate::Args;
use crate::server;
use fireactions_bench::report::{Report, median, percentile};
use fireactions_bench::server::Server;
use fireactions_bench::usage;

const DEADLINE: Duration = Duration::from_secs(600);
/// After which a server has come to rest.
const REST: Duration = Duration::from_secs(3);
/// Machines of the throughput's pool.
const WARM: usize = 3;

pub(crate) fn measure(args: &Args, work: &Path, report: &mut Report) -> anyhow::Result<()> {
    report.load("warm pool");
    let mut server = server::start(args, &work.join("server"))?;
    sleep(REST);
    report.row("server's memory: no machine yet", usage::resident(server.pid())?, "MiB");

    let many = args.times(10, 4);
    scale(&mut server, many)?;
    sleep(REST);
    report.row(format!("server's memory: {many} idle machines"), usage::resident(server.pid())?, "MiB");
    scale(&mut server, 0)?;
    sleep(REST);
    report.row("server's memory: no machine any more", usage::resident(server.pid())?, "MiB");

    scale(&mut server, WARM)?;
    warm(args, &mut server, report)?;
    throughput(args, &mut server, report)?;
    server.stop()
}

/// Waits until exactly so many machines are there, all of them ready.
fn scale(server: &mut Server, machines: usize) -> anyhow::Result<()> {
    let count = machines.to_string();
    server.run(&["pools", "scale", "bench", "--min", &count, "--max", &count])?;
    all_ready(server, machines)?;
    Ok(())
}

/// One job after the other, each when all machines are ready; that it ran on one of them is looked at.
fn warm(args: &Args, server: &mut Server, report: &mut Report) -> anyhow::Result<()> {
    let mut times = Vec::new();
    for _ in 0..args.times(15, 3) {
        let ready = all_ready(server, WARM)?;
        sleep(REST);
        let record = finished(server, &submit(server)?)?;
        let machine = record["machine"].as_str().context("the job has no machine")?;
        ensure!(
            ready.iter().any(|id| id == machine),
            "the job ran on {machine}, which was not warm: {record}"
        );
        times.push(queued_to_finished(&record)?.2 * 1e3);
    }
    report.row("a job of `true` on a warm machine: submitted → finished: p50", median(&times), "ms");
    report.row("  fastest", percentile(&times, 0), "ms");
    report.row("  slowest", percentile(&times, 100), "ms");
    report.note(format!(
        "a warm machine: {} jobs of `true`, one at a time, each submitted {REST:?} after all {WARM} machines were ready, \
         and each was given one of those",
        times.len()
    ));
    all_ready(server, WARM)?;
    Ok(())
}

/// Waits until exactly so many machines are there, all of them ready; which they are.
fn all_ready(server: &mut Server, machines: usize) -> anyhow::Result<Vec<String>> {
    let mut ready = Vec::new();
    server.until(&format!("at {machines} ready machines"), DEADLINE, |server| {
        let list = server.json(&["ps"])?;
        let list = list.as_array().context("no list of machines")?;
        ready = list.iter().filter_map(|machine| machine["id"].as_str()).map(str::to_owned).collect();
        Ok(list.len() == machines && list.iter().all(|machine| machine["state"] == "ready"))
    })?;
    Ok(ready)
}

fn submit(server: &Server) -> anyhow::Result<String> {
    Ok(server.run(&["run", "--detach", "--label", "bench", "--", "true"])?.trim().to_owned())
}

/// The job's row once it has ended, which it must have done well.
fn finished(server: &mut Server, job: &str) -> anyhow::Result<Value> {
    let mut record = Value::Null;
    server.until("done with the job", DEADLINE, |server| {
        record = server.json(&["jobs", "show", job])?;
        Ok(!record["finished_at"].is_null())
    })?;
    ensure!(record["outcome"]["code"] == 0, "a job of `true` failed: {record}");
    Ok(record)
}

/// By the server's own clock, for this program looks only now and then: both moments, and the seconds between.
fn queued_to_finished(record: &Value) -> anyhow::Result<(Timestamp, Timestamp, f64)> {
    let (queued, finished) = (time(record, "queued_at")?, time(record, "finished_at")?);
    Ok((queued, finished, finished.duration_since(queued).as_secs_f64()))
}

fn throughput(args: &Args, server: &mut Server, report: &mut Report) -> anyhow::Result<()> {
    let count = args.times(30, 6);
    let began = Instant::now();
    let mut jobs = Vec::new();
    for _ in 0..count {
        jobs.push(submit(server)?);
    }
    let submitted = began.elapsed();
    let (mut first, mut last) = (Timestamp::MAX, Timestamp::MIN);
    for job in &jobs {
        let (queued, finished, _) = queued_to_finished(&finished(server, job)?)?;
        (first, last) = (first.min(queued), last.max(finished));
    }
    let took = last.duration_since(first).as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "tens of jobs")]
    let rate = count as f64 * 60.0 / took;
    report.row(format!("{count} jobs of `true` through {WARM} machines"), rate, "jobs/min");
    report.note(format!(
        "warm pool: 1 vCPU, 256 MiB a machine; every job has a microVM of its own, so {WARM} are warm at the start \
         and the others boot meanwhile; the {count} submissions by the command line took {:.1} s of the \
         {took:.1} s; all ended with exit code 0",
        submitted.as_secs_f64()
    ));
    Ok(())
}

fn time(record: &Value, key: &str) -> anyhow::Result<Timestamp> {
    let text = record[key].as_str().with_context(|| format!("the job has no {key}"))?;
    Ok(text.parse()?)
}
