//! `make boots`: starts one guest after the other, several at once, exactly as the server does, and keeps what there is
//! to see of each that never speaks.
//!
//! ```text
//!  workers (JOBS) ─▶ guest.rs: spawn ─▶ hello ─▶ identity ─▶ killed, swept
//!                        └─ deadline passed ─▶ evidence.rs ─▶ does it speak after all? ─▶ killed, swept
//!  tally.rs: a line now and then, the figures at the end
//! ```

mod evidence;
mod guest;
mod tally;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};

use guest::BootResult;
use tally::Tally;
use world::World;

/// Start guests until one hangs, or all have spoken.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// How many guests.
    #[arg(long, default_value_t = 100)]
    count: u32,
    /// How many at once.
    #[arg(long, default_value_t = 4)]
    jobs: u32,
    /// What each of them is.
    #[arg(long, value_enum, default_value_t = Mode::Boots)]
    mode: Mode,
    /// A guest that has not spoken after so many seconds hangs. A boot takes four seconds of a core.
    #[arg(long, default_value_t = 90)]
    deadline: u64,
    /// `qemu-system-x86_64`, or what takes its arguments.
    #[arg(long, default_value = "qemu-system-x86_64")]
    qemu: PathBuf,
    /// Directory with `vmlinuz` and `lib/modules/VERSION`.
    #[arg(long)]
    kernel: PathBuf,
    /// The guest agent.
    #[arg(long)]
    agent: PathBuf,
    /// A squashfs, the guests' root.
    #[arg(long)]
    root: PathBuf,
    /// The kernel with its symbols, for stacks of the guest.
    #[arg(long)]
    symbols: Option<PathBuf>,
    /// Added to the guest kernel's command line.
    #[arg(long, default_value = "")]
    append: String,
    /// Where what is seen of a hung guest is kept.
    #[arg(long)]
    keep: PathBuf,
    /// Keep the console of every guest.
    #[arg(long)]
    consoles: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Its kernel boots.
    Boots,
    /// It is a clone of one that was frozen.
    Clones,
}

/// A line of progress now and then.
const PROGRESS: Duration = Duration::from_secs(15);

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("boots: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether all guests spoke.
async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let count = arguments.count;
    let jobs = arguments.jobs.clamp(1, count.max(1));
    let world = Arc::new(World::new(arguments, jobs).await.context("cannot prepare the guests")?);
    let tally = Arc::new(Tally::new(count));
    let next = Arc::new(AtomicU32::new(0));
    let workers: Vec<_> = (0..jobs)
        .map(|_| {
            let (world, tally, next) = (Arc::clone(&world), Arc::clone(&tally), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed) + 1;
                    if number > count || world.is_stopping() {
                        return;
                    }
                    let outcome = guest::one(&world, number).await;
                    if let BootResult::Hung { .. } | BootResult::Failed(_) = &outcome {
                        println!("guest {number}: {outcome}");
                    }
                    tally.add(&outcome);
                }
            })
        })
        .collect();
    let watched = Arc::clone(&tally);
    let progress = tokio::spawn(async move {
        loop {
            tokio::time::sleep(PROGRESS).await;
            println!("{}", watched.line());
        }
    });
    let told = Arc::clone(&world);
    let stop = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            eprintln!("boots: no more guests; those under way are waited for");
            told.stop();
        }
    });
    for worker in workers {
        worker.await.context("a worker has panicked")?;
    }
    progress.abort();
    stop.abort();
    println!("{}", tally.summary());
    Ok(tally.is_clean())
}
