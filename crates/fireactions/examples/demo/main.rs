//! `make demo`: real jobs on real input, each in its own microVM, and the proof that nothing is left behind.
//!
//! Runs in a network namespace of its own (see `scripts/demo`), so that a host's own network is not touched and the
//! addresses that the isolation job must not reach can really be there.

#[path = "../common/mod.rs"]
mod common;
mod jobs;
mod server;
mod targets;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use clap::Parser;

use common::leaks;
use common::programs::Programs;

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
    targets::listen().context("the addresses that must not be reached")?;
    let before = leaks::World::look(&args.state, "fireactions-demo");
    let server = server::start(args)?;
    println!(
        "demo: server ready after {:.1} s ({})",
        begun.elapsed().as_secs_f64(),
        server::accelerator(&server)?
    );

    let mut watch = watch::Watch::new(args.logs);
    let outcome = jobs::run(args, &server, &mut watch);
    watch.finish();
    let log = server.place().log();
    let stopped = server.stop();
    let results = outcome.with_context(|| format!("the server's log is {}", log.display()))?;
    stopped?;

    jobs::print_table(&results);
    let expected = results.iter().filter(|result| result.as_expected()).count();
    let leaked = before.left_behind(&leaks::World::look(&args.state, "fireactions-demo"));
    for thing in &leaked {
        println!("demo: left behind: {thing}");
    }
    println!(
        "demo: looked for processes, taps, nft rules, mounts, cgroups and scratch files; took {:.0} s in all",
        begun.elapsed().as_secs_f64()
    );
    if expected < results.len() || !leaked.is_empty() {
        println!("demo: the server's log is {}", log.display());
    }
    println!("demo: {} jobs, {expected} as expected, {} leaked", results.len(), leaked.len());
    Ok(expected == results.len() && leaked.is_empty())
}
