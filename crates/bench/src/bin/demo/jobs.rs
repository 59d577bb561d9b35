//! The jobs, and what is expected of each.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use fireactions_bench::server::Server;
use serde_json::Value;

use crate::Args;
use crate::script::{BUILD, FAIL, GATEWAY, LISTENING, NEIGHBOUR_PORT, intrude, neighbour};
use crate::targets::{PORT, answers};
use crate::watch::Watch;

/// Under emulation, a configure script and a test suite take a minute or two.
const DEADLINE: Duration = Duration::from_secs(900);
/// The two projects that are built and tested: names of source packages.
const PROJECTS: [&str; 2] = ["ed", "lunzip"];
/// A machine that is not gone by then leaves a gap in the table, and shows in what is left behind.
const TEARDOWN: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// A finished job.
pub(crate) struct Finished {
    pub(crate) name: &'static str,
    pub(crate) expected: i64,
    pub(crate) record: Value,
    pub(crate) exit: Option<i64>,
}

impl Finished {
    pub(crate) fn as_expected(&self) -> bool {
        self.exit == Some(self.expected)
    }
}

struct Job {
    name: &'static str,
    expected: i64,
    id: String,
    done: bool,
}

/// Runs all jobs to their end.
pub(crate) fn run(args: &Args, server: &Server, watch: &mut Watch) -> anyhow::Result<Vec<Finished>> {
    let projects = [source(&args.inputs, PROJECTS[0])?, source(&args.inputs, PROJECTS[1])?];
    let deadline = Instant::now() + DEADLINE;

    // The neighbour goes first: the intruder needs its address.
    let mut jobs = vec![submit(server, watch, "neighbour", 0, &neighbour(), None)?];
    let address = loop {
        ensure!(Instant::now() < deadline, "the neighbour did not run within {DEADLINE:?}");
        poll(server, watch, &mut jobs)?;
        ensure!(!jobs[0].done, "the neighbour ended before anybody came");
        if let Some(address) = running_address(server, &jobs[0].id)? {
            break address;
        }
        std::thread::sleep(PAUSE);
    };
    ensure!(
        answers(GATEWAY, PORT),
        "the bridge's own address does not answer the host: the isolation job would prove nothing"
    );

    jobs.push(submit(server, watch, "isolation", 0, &intrude(address), None)?);
    for (name, source) in PROJECTS.into_iter().zip(&projects) {
        jobs.push(submit(server, watch, name, 0, BUILD, Some(source))?);
    }
    jobs.push(submit(server, watch, "must-fail", 3, FAIL, None)?);

    let mut visited = false;
    while jobs.iter().any(|job| !job.done) {
        ensure!(Instant::now() < deadline, "the jobs did not end within {DEADLINE:?}");
        poll(server, watch, &mut jobs)?;
        if !visited && jobs[1].done {
            visit(server, &jobs[0].id, address)?;
            visited = true;
        }
        std::thread::sleep(PAUSE);
    }
    jobs.iter().map(|job| finished(server, job)).collect()
}

/// Connects to the neighbour from inside its own machine, at the address that the intruder tried. That it answers
/// shows that it was there all along, and ends it.
fn visit(server: &Server, id: &str, address: Ipv4Addr) -> anyhow::Result<()> {
    let record = server.json(&["jobs", "show", id])?;
    let call = format!("nc -w 5 {address} {NEIGHBOUR_PORT} </dev/null");
    let output =
        server.command().args(["exec", text(&record, "machine"), "--", "sh", "-c", &call]).output()?;
    let answer = String::from_utf8_lossy(&output.stdout);
    ensure!(
        answer.contains("neighbour"),
        "the neighbour did not answer itself ({answer:?}): the isolation job proved nothing"
    );
    Ok(())
}

/// The archive that `scripts/demo-inputs` fetched.
fn source(inputs: &Path, package: &str) -> anyhow::Result<PathBuf> {
    let prefix = format!("{package}_");
    let entries = std::fs::read_dir(inputs.join("sources"))?.flatten();
    let mut paths = entries.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&prefix) && !name.ends_with(".asc")
    });
    paths.next().with_context(|| format!("no source archive {prefix}* in {}", inputs.display()))
}

fn submit(
    server: &Server,
    watch: &mut Watch,
    name: &'static str,
    expected: i64,
    script: &str,
    source: Option<&Path>,
) -> anyhow::Result<Job> {
    let mut command = server.command();
    command.args(["run", "--detach", "--name", name, "--label", "demo", "--timeout", "10m"]);
    if let Some(source) = source {
        command.arg("--copy").arg(format!("{}:/in/source.tar", source.display()));
    }
    let output = command.args(["--", "sh", "-e", "-c", script]).output()?;
    if !output.status.success() {
        bail!("{name} was not taken: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let id = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let mut logs = server.command();
    logs.args(["jobs", "logs", "--follow", &id]);
    watch.follow(name, logs)?;
    Ok(Job { name, expected, id, done: false })
}

/// Looks at every job that is not done and says what changed.
fn poll(server: &Server, watch: &mut Watch, jobs: &mut [Job]) -> anyhow::Result<()> {
    let machines = server.json(&["ps"])?;
    let machines = machines.as_array().map(Vec::as_slice).unwrap_or_default();
    for machine in machines {
        let standing = format!("{} ({})", text(machine, "state"), text(machine, "step"));
        watch.say(&format!("machine {}", text(machine, "id")), &standing);
    }
    for job in jobs.iter_mut().filter(|job| !job.done) {
        let record = server.json(&["jobs", "show", &job.id])?;
        let state = text(&record, "state").to_owned();
        watch.say(job.name, &format!("{state}{}", why(&record)));
        job.done = matches!(state.as_str(), "succeeded" | "failed" | "cancelled" | "timed_out" | "lost");
        if job.done {
            watch.over(job.name);
        }
    }
    watch.tick();
    Ok(())
}

/// What a job waits for, or why it ended as it did.
fn why(record: &Value) -> String {
    if let Some(reason) = record["reason"].as_str() {
        return format!(": {reason}");
    }
    let waiting = &record["waiting"];
    match waiting["kind"].as_str() {
        Some("image") => {
            let percent =
                waiting["percent"].as_u64().map(|percent| format!(" {percent} %")).unwrap_or_default();
            format!(": its image is made ready: {}{percent}", text(waiting, "status"))
        }
        Some("starting") => format!(": machine {} is {}", text(waiting, "machine"), text(waiting, "state")),
        Some(kind) => format!(": {}", kind.replace('_', " ")),
        None => String::new(),
    }
}

/// The address of the machine that runs the job, once the job says that it listens.
fn running_address(server: &Server, id: &str) -> anyhow::Result<Option<Ipv4Addr>> {
    let log = server.command().args(["jobs", "logs", id]).output()?;
    if !String::from_utf8_lossy(&log.stdout).contains(LISTENING) {
        return Ok(None);
    }
    let machines = server.json(&["ps"])?;
    let machine =
        machines.as_array().and_then(|list| list.iter().find(|machine| machine["job"] == id)).cloned();
    Ok(machine.and_then(|machine| machine["address"].as_str().and_then(|address| address.parse().ok())))
}

fn finished(server: &Server, job: &Job) -> anyhow::Result<Finished> {
    let end = Instant::now() + TEARDOWN;
    let mut record = server.json(&["jobs", "show", &job.id])?;
    // Told once the machine is gone, which is after the job's end.
    while record["phases"]["teardown"].is_null() && Instant::now() < end {
        std::thread::sleep(PAUSE);
        record = server.json(&["jobs", "show", &job.id])?;
    }
    let exit = record["outcome"]["code"].as_i64();
    let finished = Finished { name: job.name, expected: job.expected, record, exit };
    if !finished.as_expected() {
        let log = server.command().args(["jobs", "logs", &job.id]).output()?;
        let log = String::from_utf8_lossy(&log.stdout).into_owned();
        let lines: Vec<&str> = log.lines().collect();
        println!("demo: {} did not end as expected; its last lines:", job.name);
        for line in &lines[lines.len().saturating_sub(20)..] {
            println!("    {line}");
        }
    }
    Ok(finished)
}

/// A field that is a text.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("?")
}
