//! The jobs, what is expected of each, and the table.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use comfy_table::{Cell, Table, presets};
use serde_json::Value;

use crate::Args;
use crate::common::server::Server;
use crate::targets::{LAN, METADATA, PORT, answers};
use crate::watch::Watch;

/// Under emulation, a configure script and a test suite take minutes.
const DEADLINE: Duration = Duration::from_secs(1800);
/// Where the neighbour listens.
const NEIGHBOUR_PORT: u16 = 7000;
/// The bridge's own address: the first of the demo's subnet.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 31, 240, 1);

const PHASES: [&str; 9] = ["queued", "image", "net", "spawn", "kernel", "agent", "runner", "job", "teardown"];

/// A finished job.
pub(crate) struct Finished {
    name: &'static str,
    expected: i64,
    record: Value,
    exit: Option<i64>,
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

/// Builds and tests an upstream source archive. The archive is the package's own, unchanged.
const UNPACK: &str = "cd /tmp; tar xf /in/source.tar; cd */";

/// Tries to reach what it must not; exits with 0 when nothing answered, with 1 naming what did.
fn intrude(neighbour: Ipv4Addr) -> String {
    let targets = [(neighbour, NEIGHBOUR_PORT), (GATEWAY, PORT), (LAN, PORT), (METADATA, PORT)];
    let tries = targets.map(|(address, port)| format!("try {address} {port}")).join("\n");
    format!(
        "reached=0\n\
         try() {{\n\
           if nc -w 3 $1 $2 </dev/null | grep -q .; then echo \"REACHED $1 $2\"; reached=1\n\
           else echo \"not reached: $1 $2\"; fi\n\
         }}\n\
         {tries}\nexit $reached\n"
    )
}

/// Runs all jobs to their end.
pub(crate) fn run(args: &Args, server: &Server, watch: &mut Watch) -> anyhow::Result<Vec<Finished>> {
    let bzip2 = source(&args.inputs, "bzip2_")?;
    let zlib = source(&args.inputs, "zlib_")?;
    let deadline = Instant::now() + DEADLINE;

    // The neighbour goes first: the intruder needs its address.
    let neighbour_script = format!("echo listening; echo neighbour | nc -l -p {NEIGHBOUR_PORT} -q 1");
    let mut jobs = vec![submit(server, watch, "neighbour", 0, &neighbour_script, None)?];
    let address = loop {
        ensure!(Instant::now() < deadline, "the neighbour did not run within {DEADLINE:?}");
        poll(server, watch, &mut jobs)?;
        ensure!(!jobs[0].done, "the neighbour ended before anybody came");
        if let Some(address) = running_address(server, &jobs[0].id)? {
            break address;
        }
        std::thread::sleep(Duration::from_millis(250));
    };
    ensure!(
        answers(GATEWAY, PORT),
        "the bridge's own address does not answer the host: the isolation job would prove nothing"
    );

    let build = |steps: &str| format!("{UNPACK}; {steps}");
    jobs.push(submit(server, watch, "isolation", 0, &intrude(address), None)?);
    jobs.push(submit(server, watch, "zlib", 0, &build("./configure; make; make test"), Some(&zlib))?);
    jobs.push(submit(server, watch, "bzip2", 0, &build("make bzip2 bzip2recover; make test"), Some(&bzip2))?);
    jobs.push(submit(server, watch, "must-fail", 3, "echo this one fails on purpose; exit 3", None)?);

    let mut visited = false;
    while jobs.iter().any(|job| !job.done) {
        ensure!(Instant::now() < deadline, "the jobs did not end within {DEADLINE:?}");
        poll(server, watch, &mut jobs)?;
        if !visited && jobs[1].done {
            visit(server, &jobs[0].id, address)?;
            visited = true;
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    std::thread::sleep(Duration::from_millis(500));
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

fn source(inputs: &Path, prefix: &str) -> anyhow::Result<PathBuf> {
    let entries = std::fs::read_dir(inputs.join("sources"))?.flatten();
    let mut paths = entries.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(prefix) && !name.ends_with(".asc")
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
    command.args(["run", "--detach", "--name", name, "--label", "demo", "--timeout", "30m"]);
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
        let reason = record["reason"].as_str().map(|reason| format!(": {reason}")).unwrap_or_default();
        watch.say(job.name, &format!("{state}{reason}"));
        job.done = matches!(state.as_str(), "succeeded" | "failed" | "cancelled" | "timed_out" | "lost");
    }
    Ok(())
}

/// The address of the machine that runs the job, once the job says that it listens.
fn running_address(server: &Server, id: &str) -> anyhow::Result<Option<Ipv4Addr>> {
    let log = server.command().args(["jobs", "logs", id]).output()?;
    if !String::from_utf8_lossy(&log.stdout).contains("listening") {
        return Ok(None);
    }
    let machines = server.json(&["ps"])?;
    let machine =
        machines.as_array().and_then(|list| list.iter().find(|machine| machine["job"] == id)).cloned();
    Ok(machine.and_then(|machine| machine["address"].as_str().and_then(|address| address.parse().ok())))
}

fn finished(server: &Server, job: &Job) -> anyhow::Result<Finished> {
    let record = server.json(&["jobs", "show", &job.id])?;
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

/// Job, result, exit code, seconds in each phase.
pub(crate) fn print_table(results: &[Finished]) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["job", "result", "exit", "expected"].into_iter().chain(PHASES));
    for result in results {
        let mut row = vec![
            Cell::new(result.name),
            Cell::new(text(&result.record, "state")),
            Cell::new(result.exit.map_or_else(|| "-".to_owned(), |code| code.to_string())),
            Cell::new(if result.as_expected() {
                "yes".to_owned()
            } else {
                format!("no: {}", result.expected)
            }),
        ];
        for phase in PHASES {
            let micros = result.record["phases"][phase].as_f64();
            row.push(Cell::new(
                micros.map_or_else(|| "-".to_owned(), |micros| format!("{:.2}s", micros / 1e6)),
            ));
        }
        table.add_row(row);
    }
    println!("{table}");
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("?")
}
