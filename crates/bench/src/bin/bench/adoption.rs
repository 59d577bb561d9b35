//! How soon a server that was killed is back, with everything it had: from the kill until the next process's `/readyz`
//! says yes, which it does once every machine is adopted.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use fireactions_api::Client;
use fireactions_model::{JobId, JobState, MachineId, MachineView};

use crate::Args;
use crate::fleet::{self, Pool};
use fireactions_bench::report::{Goal, Report, median, millis};
use fireactions_bench::server::Server;

const DEADLINE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(2);

pub(crate) fn measure(args: &Args, work: &Path, report: &mut Report) -> anyhow::Result<()> {
    report.load("adoption");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for (real, machines) in [(false, args.times(200, 50)), (true, args.times(10, 2))] {
        let name = if real { "real" } else { "stand-in" };
        let state = work.join(format!("adoption-{name}"));
        let pools = [Pool("bench", machines, machines)];
        let server = Server::start(fleet::setup(args, &state, real, &pools)?)?;
        let (server, times) = runtime.block_on(crashes(args, server, real, machines))?;
        let goal = Goal::AtMost(1000.0);
        let measure = format!("server killed → ready again with {machines} {name} machines");
        if real {
            report.row(measure, median(&times), "ms");
        } else {
            report.judged(measure, median(&times), "ms", goal);
        }
        report.row("  slowest", times.iter().copied().fold(0.0, f64::max), "ms");
        server.stop()?;
    }
    report.note(
        "adoption: from kill -9 of the server until the next process's /readyz says yes, started once the first is dead; each time \
         half of the machines were busy, and afterwards every machine was there with its process, and every job ended \
         well in its first attempt",
    );
    Ok(())
}

/// Kills the server several times with half of its machines busy; the times until the next one was ready.
async fn crashes(
    args: &Args,
    mut server: Server,
    real: bool,
    machines: usize,
) -> anyhow::Result<(Server, Vec<f64>)> {
    let client = fleet::client(&server)?;
    fleet::ready(&mut server, &client, machines).await?;
    // The stand-in's jobs wait to be told; a real guest's wait for a file.
    let (script, tell) = if real {
        ("while [ ! -e /tmp/told ]; do sleep 0.2; done", ["touch", "/tmp/told"].as_slice())
    } else {
        ("wait", ["tell"].as_slice())
    };
    let mut jobs = Vec::new();
    for _ in 0..machines / 2 {
        jobs.push(fleet::submit(&client, "bench", script).await?.id);
    }
    for id in &jobs {
        fleet::job_when(&client, id, |job| job.state == JobState::Running).await?;
    }
    let mut times = Vec::new();
    for _ in 0..args.times(5, 2) {
        let before = identities(&client.machines().await?);
        ensure!(before.len() == machines, "{} machines instead of {machines}", before.len());
        // The dead one's end is part of it: the next has to wait for its sockets and its lock.
        let began = Instant::now();
        let setup = server.crash()?;
        server = Server::begin(setup)?;
        while !client.readiness().await.is_ok_and(|readiness| readiness.ready) {
            server.must_live()?;
            ensure!(began.elapsed() < DEADLINE, "not ready after {DEADLINE:?}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        times.push(millis(began.elapsed()));
        let after = identities(&client.machines().await?);
        ensure!(after == before, "machines were lost: {:?}", before.difference(&after).collect::<Vec<_>>());
    }
    finish(&server, &client, &jobs, tell).await?;
    Ok((server, times))
}

fn identities(machines: &[MachineView]) -> BTreeSet<(MachineId, Option<u32>)> {
    machines.iter().map(|view| (view.id.clone(), view.pid)).collect()
}

/// Lets every job end; each must have run once.
async fn finish(server: &Server, client: &Client, jobs: &[JobId], tell: &[&str]) -> anyhow::Result<()> {
    for id in jobs {
        // Whether it was heard, the job's end tells.
        server.command().args(["exec", id.as_str(), "--"]).args(tell).output()?;
    }
    for id in jobs {
        let job = fleet::job_when(client, id, |job| job.state.is_final()).await?;
        ensure!((job.state, job.attempt) == (JobState::Succeeded, 1), "a job was harmed: {job:?}");
    }
    Ok(())
}
