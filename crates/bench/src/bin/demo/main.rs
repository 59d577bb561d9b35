//! `make demo`: real jobs on real input, each in its own microVM, and the proof that nothing is left behind.
//!
//! ```text
//! jobs.rs    the jobs and what is expected of each     watch.rs    what the user sees meanwhile
//! script.rs  what they run                             template.rs the server's word about its template
//! targets.rs what a job must not reach                 table.rs    results, and what the time went into
//! ```
//!
//! Runs in a network namespace of its own (see `scripts/demo`), so that a host's own network is not touched and the
//! addresses that the isolation job must not reach can really be there.

mod jobs;
mod script;
mod server;
mod table;
mod targets;
mod template;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use clap::Parser;

use fireactions_bench::leaks;
use fireactions_bench::programs::Programs;
use table::{Spent, Times};

/// The demo of `make demo`.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    programs: Programs,
    /// Directory made by `scripts/demo-inputs`.
    #[arg(long)]
    inputs: PathBuf,
    /// State directory, kept between runs for its images.
    #[arg(long)]
    state: PathBuf,
    /// Stream the jobs' output while they run.
    #[arg(long)]
    logs: bool,
    /// What was done before, and the seconds that it took.
    #[arg(long, value_name = "WHAT=SECONDS")]
    spent: Vec<Spent>,
    /// Seconds since the user began.
    #[arg(long, default_value_t = 0)]
    before: u64,
}

fn main() -> ExitCode {
    match demo(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo(args: &Args) -> anyhow::Result<bool> {
    let begun = Instant::now();
    let mut times = Times::new(args);
    targets::listen().context("the addresses that must not be reached")?;
    let before = leaks::World::look(&args.state, "fireactions-demo");
    println!("demo: the server starts: it looks for an accelerator and makes the guest's boot files");
    let server = server::start(args)?;
    println!(
        "demo: the server is ready after {:.1} s ({})",
        begun.elapsed().as_secs_f64(),
        server::accelerator(&server)?
    );
    times.add("server: start, accelerator, boot files", begun.elapsed());

    let mut watch = watch::Watch::new(args.logs, &server.setup().log());
    let running = Instant::now();
    let outcome = jobs::run(args, &server, &mut watch);
    times.watched(&watch, running, &outcome);
    watch.finish();
    let log = server.setup().log();
    let stopping = Instant::now();
    let stopped = server.stop();
    let results = outcome.with_context(|| format!("the server's log is {}", log.display()))?;
    stopped?;

    let leaked = before.left_behind(&leaks::World::look(&args.state, "fireactions-demo"));
    times.add("server: stop, everything looked for that could be left", stopping.elapsed());
    table::results(&results);
    times.print();
    for thing in &leaked {
        println!("demo: left behind: {thing}");
    }
    println!("demo: looked for processes, taps, nft rules, mounts, cgroups and scratch files");
    let expected = results.iter().filter(|result| result.as_expected()).count();
    if expected < results.len() || !leaked.is_empty() {
        println!("demo: the server's log is {}", log.display());
    }
    println!("demo: {} jobs, {expected} as expected, {} leaked", results.len(), leaked.len());
    Ok(expected == results.len() && leaked.is_empty())
}
