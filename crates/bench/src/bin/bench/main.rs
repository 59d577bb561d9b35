//! `make bench`: what a machine costs, side by side with the usual tools in one run.
//!
//! ```text
//! cold.rs     process start → first line of the job: the agent as PID 1, systemd + cloud-init
//! cost.rs     the host's part of one machine, guest and QEMU left out (guestless.rs); alone.rs: its parts
//! attach.rs   a machine in and out of the network; queue.rs: a job through the built-in queue, each durable step
//! convert.rs  image → root: ours, skopeo + umoci + mksquashfs
//! snapshot.rs a clone of a template against a cold boot: time and memory
//! own_init.rs  a clone of an image with systemd and Docker against its boot
//! firecracker.rs  what a start of Firecracker costs beside Firecracker; the real one's clones, where there is one
//! pool.rs     jobs a minute through the real server; its memory
//! thousand.rs a thousand machines with a stand-in VMM (fleet.rs): memory, CPU at rest, time to a decision
//! github.rs   webhook → decision, queued → runner with a warm machine, requests a job
//! forges.rs   four forges side by side: the server's CPU and memory at rest, requests a minute
//! page.rs     what fifty open pages cost the server while much happens; browser.rs: what the page costs a browser
//! cache.rs    the cache of actions: an entry beside a plain file, many jobs at once, memory
//! sticky.rs   a large sticky directory until it is a machine's own, with shared blocks and without
//! adoption.rs a killed server → the next one ready with all machines
//! ```
//!
//! Runs in a network namespace of its own (see `scripts/bench`).

mod adoption;
mod alone;
mod attach;
mod browser;
mod cache;
mod cni;
mod cold;
mod convert;
mod cost;
mod firecracker;
mod fleet;
mod forges;
mod github;
mod guest;
mod guestless;
mod hosted;
mod own_init;
mod page;
mod pool;
mod queue;
mod seed;
mod server;
mod snapshot;
mod sticky;
mod thousand;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, ValueEnum};

use fireactions_bench::programs::Programs;
use fireactions_bench::report::Report;

/// The measurements of `make bench`.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    programs: Programs,
    /// Directory made by `scripts/bench-inputs`; work files are made there too, and removed.
    #[arg(long)]
    inputs: PathBuf,
    /// Where the numbers go as JSON.
    #[arg(long)]
    output: PathBuf,
    /// Few repetitions: shows that it works, not how fast it is.
    #[arg(long)]
    quick: bool,
    /// Makes what needs the network, which a measurement has not, and measures nothing.
    #[arg(long)]
    fetch: bool,
    /// Only these; everything when absent.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Cold,
    Cost,
    Attach,
    Queue,
    Snapshot,
    OwnInit,
    Firecracker,
    Convert,
    Pool,
    Thousand,
    Page,
    Adoption,
    Github,
    Forges,
    Cache,
    Sticky,
}

impl Args {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// How often something is done: `full` times, or `few` for a quick run.
    fn times(&self, full: usize, few: usize) -> usize {
        if self.quick { few } else { full }
    }

    fn image(&self) -> PathBuf {
        self.inputs.join("image.tar")
    }
}

fn main() -> ExitCode {
    if let Some(code) = convert::child().or_else(cache::child) {
        return code;
    }
    match bench(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// True when every goal was met.
fn bench(args: &Args) -> anyhow::Result<bool> {
    if args.fetch {
        if args.wants(Part::OwnInit) {
            own_init::image()?;
        }
        return Ok(true);
    }
    let work = tempfile::Builder::new().prefix("work-").tempdir_in(&args.inputs)?;
    let mut report = Report::new(args.quick);
    // First: a child starts with its parent's size, so the parent should still be small.
    if args.wants(Part::Convert) {
        convert::measure(args, work.path(), &mut report).context("image conversion")?;
    }
    if [Part::Cold, Part::Cost, Part::Snapshot, Part::OwnInit, Part::Firecracker]
        .iter()
        .any(|part| args.wants(*part))
    {
        let runtime = tokio::runtime::Runtime::new()?;
        runtime.block_on(inside(args, work.path(), &mut report))?;
    }
    let runtime = tokio::runtime::Runtime::new()?;
    if args.wants(Part::Attach) {
        runtime.block_on(attach::measure(args, &mut report)).context("network")?;
        runtime.block_on(cni::measure(args, &mut report)).context("the CNI chain")?;
    }
    if args.wants(Part::Queue) {
        runtime.block_on(queue::measure(args, work.path(), &mut report)).context("queue")?;
    }
    if args.wants(Part::Cache) {
        runtime.block_on(cache::measure(args, work.path(), &mut report)).context("the cache of actions")?;
    }
    drop(runtime);
    if args.wants(Part::Sticky) {
        sticky::measure(args, work.path(), &mut report).context("sticky directories")?;
    }
    if args.wants(Part::Pool) {
        pool::measure(args, work.path(), &mut report).context("warm pool")?;
    }
    if args.wants(Part::Thousand) {
        thousand::measure(args, work.path(), &mut report).context("a thousand machines")?;
    }
    if args.wants(Part::Page) {
        page::measure(args, work.path(), &mut report).context("open pages")?;
        browser::measure(args, work.path(), &mut report).context("the page in a browser")?;
    }
    if args.wants(Part::Adoption) {
        adoption::measure(args, work.path(), &mut report).context("adoption")?;
    }
    if args.wants(Part::Github) {
        github::measure(args, work.path(), &mut report).context("GitHub")?;
    }
    if args.wants(Part::Forges) {
        forges::measure(args, work.path(), &mut report).context("forges")?;
    }
    report.print();
    report.write(&args.output)?;
    Ok(report.verdict())
}

/// What runs in this process.
async fn inside(args: &Args, work: &std::path::Path, report: &mut Report) -> anyhow::Result<()> {
    let world = world::World::new(args, work).await?;
    let measured = async {
        if args.wants(Part::Cost) {
            cost::measure(args, &world, report).await.context("cost of a machine")?;
        }
        if args.wants(Part::Cold) {
            cold::measure(args, &world, report).await.context("cold start")?;
        }
        if args.wants(Part::Snapshot) {
            snapshot::measure(args, &world, report).await.context("snapshot")?;
        }
        if args.wants(Part::OwnInit) {
            own_init::measure(args, &world, report).await.context("own init")?;
        }
        if args.wants(Part::Firecracker) {
            firecracker::measure(args, &world, report).await.context("Firecracker")?;
        }
        anyhow::Ok(())
    };
    let measured = measured.await;
    world.network.remove().await?;
    measured
}
