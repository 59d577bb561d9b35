//! `make soak`: four thousand machines with a stand-in VMM and a hundred real ones, made, used and destroyed under mixed
//! faults, the server's own death among them; and the proof that at the end everything is as it was at the beginning.
//!
//! ```text
//! load.rs    which jobs, and how each must end        books.rs  what there is before and after
//! round.rs   the jobs' way through a real server      trend.rs  memory over machines
//! faults.rs  what is done to machines and servers
//! ```
//!
//! Runs in a network namespace of its own (see `scripts/soak`).

mod books;
mod faults;
mod load;
mod round;
mod trend;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use clap::Parser;

use fireactions_bench::programs::Programs;
use fireactions_testkit::standin;
use round::{Report, Round};

/// The soak of `make soak`.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    programs: Programs,
    /// Machines with the stand-in VMM.
    #[arg(long, default_value_t = 4000)]
    machines: u64,
    /// Machines with real microVMs.
    #[arg(long, default_value_t = 100)]
    real: u64,
    /// Which jobs and faults there are; the same again with the same number.
    #[arg(long)]
    seed: Option<u64>,
    /// Where the state directories are made; removed at the end, kept when something is wrong.
    #[arg(long)]
    work: PathBuf,
}

fn main() -> ExitCode {
    match soak(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn soak(args: &Args) -> anyhow::Result<bool> {
    let seed = args.seed.unwrap_or_else(|| rand::random_range(0..1_000_000));
    println!("soak: seed {seed} (--seed {seed} does the same again)");
    let rounds = [
        Round { name: "stand-in", machines: args.machines, at_once: 24, vmm: Some(standin::program()) },
        Round { name: "real", machines: args.real, at_once: 3, vmm: None },
    ];
    let mut clean = true;
    for round in rounds.into_iter().filter(|round| round.machines > 0) {
        let state = args.work.join(round.name);
        let began = Instant::now();
        let report = run(args, &round, &state, seed)?;
        report.print(&round, began.elapsed());
        if report.is_clean() {
            std::fs::remove_dir_all(&state)?;
        } else {
            println!("soak: the server's log is {}", state.join("server.log").display());
            clean = false;
        }
    }
    println!("soak: {}", if clean { "clean" } else { "NOT clean" });
    Ok(clean)
}

fn run(args: &Args, round: &Round, state: &Path, seed: u64) -> anyhow::Result<Report> {
    if state.exists() {
        std::fs::remove_dir_all(state).with_context(|| state.display().to_string())?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(round::run(args, round, state, seed)).with_context(|| format!("round '{}'", round.name))
}
