//! Jobs a minute through the real server, and its memory.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use serde_json::Value;

use crate::Args;
use crate::report::{Report, median};
use crate::server;
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
    throughput(args, &mut server, report)?;
    server.stop()
}

/// Waits until exactly so many machines are there, all of them ready.
fn scale(server: &mut Server, machines: usize) -> anyhow::Result<()> {
    let count = machines.to_string();
    server.run(&["pools", "scale", "bench", "--min", &count, "--max", &count])?;
    server.until(&format!("at {machines} ready machines"), DEADLINE, |server| {
        let list = server.json(&["ps"])?;
        let list = list.as_array().context("no list of machines")?;
        Ok(list.len() == machines && list.iter().all(|machine| machine["state"] == "ready"))
    })
}

fn throughput(args: &Args, server: &mut Server, report: &mut Report) -> anyhow::Result<()> {
    let count = args.times(30, 6);
    let began = Instant::now();
    let mut jobs = Vec::new();
    for _ in 0..count {
        jobs.push(server.run(&["run", "--detach", "--label", "bench", "--", "true"])?.trim().to_owned());
    }
    let submitted = began.elapsed();
    let mut records: Vec<Value> = Vec::new();
    server.until("done with all jobs", DEADLINE, |server| {
        while records.len() < jobs.len() {
            let record = server.json(&["jobs", "show", &jobs[records.len()]])?;
            if record["finished_at"].is_null() {
                return Ok(false);
            }
            ensure!(record["outcome"]["code"] == 0, "a job of `true` failed: {record}");
            records.push(record);
        }
        Ok(true)
    })?;
    // By the server's own clock: this program looks only now and then.
    let (mut first, mut last) = (Timestamp::MAX, Timestamp::MIN);
    let mut waited = Vec::new();
    for record in &records {
        let (queued, finished) = (time(record, "queued_at")?, time(record, "finished_at")?);
        (first, last) = (first.min(queued), last.max(finished));
        waited.push(finished.duration_since(queued).as_secs_f64());
    }
    let took = last.duration_since(first).as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "tens of jobs")]
    let rate = count as f64 * 60.0 / took;
    report.row(format!("{count} jobs of `true` through {WARM} machines"), rate, "jobs/min");
    report.row("  a warm machine: submitted → finished", median(&waited[..WARM]) * 1e3, "ms");
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
