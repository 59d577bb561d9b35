//! What open pages cost the server while much happens: job events as in `thousand.rs`, first with nobody who looks, then with
//! fifty live views.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use fireactions_model::JobState;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use crate::Args;
use crate::fleet::{self, Pool};
use fireactions_bench::report::{Load, Report};
use fireactions_bench::server::Server;
use fireactions_bench::usage;

const PAGES: usize = 50;
/// Machines that run meanwhile.
const MACHINES: usize = 50;
/// After a change of how many look, before it is measured.
const SETTLE: Duration = Duration::from_secs(5);

pub(crate) fn measure(args: &Args, work: &Path, report: &mut Report) -> anyhow::Result<()> {
    report.load("open pages");
    let pools = [Pool("warm", MACHINES, MACHINES), Pool("full", 0, 1)];
    let server = Server::start(fleet::setup(args, &work.join("page"), false, &pools)?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(inside(args, server, report))?.stop()
}

async fn inside(args: &Args, mut server: Server, report: &mut Report) -> anyhow::Result<Server> {
    let client = fleet::client(&server)?;
    fleet::ready(&mut server, &client, MACHINES).await?;
    let holder = fleet::submit(&client, "full", "hang").await?;
    fleet::job_when(&client, &holder.id, |job| job.state == JobState::Running).await?;
    let (done, events) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let noise = tokio::spawn(fleet::noise(client.clone(), Arc::clone(&done), Arc::clone(&events)));
    let without = watch(args, &server, &events).await?;
    let (mut pages, bytes) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
    for _ in 0..PAGES {
        pages.spawn(look(server.setup().socket(), Arc::clone(&bytes)));
    }
    tokio::time::sleep(SETTLE).await;
    let snapshots = bytes.load(Ordering::Relaxed);
    let with = watch(args, &server, &events).await?;
    let told = bytes.load(Ordering::Relaxed) - snapshots;
    ensure!(pages.try_join_next().is_none(), "the server has ended a live view");
    pages.shutdown().await;
    done.store(true, Ordering::Relaxed);
    noise.await??;
    client.cancel(&holder.id).await?;

    #[allow(clippy::cast_precision_loss, reason = "some hundred")]
    let wanted = fleet::EVENTS as f64;
    let load = Load { wanted, reached: with.events / with.seconds, unit: "events/s" };
    report.row(format!("{PAGES} open pages: job events meanwhile"), load.reached, "events/s");
    report.row("  without pages", without.events / without.seconds, "events/s");
    let share = |seen: &Seen| seen.cpu.as_secs_f64() / seen.seconds * 100.0;
    report.row("  the server's CPU time", share(&with), "% of a core");
    report.row("  without pages", share(&without), "% of a core");
    report.row("  the server's memory", with.memory, "MiB");
    report.row("  without pages", without.memory, "MiB");
    #[allow(clippy::cast_precision_loss, reason = "gigabytes at most")]
    let told = told as f64;
    #[allow(clippy::cast_precision_loss, reason = "fifty")]
    let pages = PAGES as f64;
    report.row("  for each event and page", told / with.events / pages, "bytes");
    report.note(format!(
        "open pages: live views at the Unix socket, read as fast as they come, beside {MACHINES} stand-in machines; the same job \
         events as with a thousand machines ({} /s wanted), made by the same API",
        fleet::EVENTS
    ));
    Ok(server)
}

/// What a while cost.
struct Seen {
    cpu: Duration,
    memory: f64,
    events: f64,
    seconds: f64,
}

async fn watch(args: &Args, server: &Server, events: &AtomicU64) -> anyhow::Result<Seen> {
    tokio::time::sleep(SETTLE).await;
    let before = (Instant::now(), usage::cpu_of_process(server.pid())?, events.load(Ordering::Relaxed));
    tokio::time::sleep(Duration::from_secs(if args.quick { 5 } else { 30 })).await;
    let cpu = usage::cpu_of_process(server.pid())?.saturating_sub(before.1);
    #[allow(clippy::cast_precision_loss, reason = "some thousand")]
    let events = (events.load(Ordering::Relaxed) - before.2) as f64;
    let memory = usage::resident(server.pid())?;
    Ok(Seen { cpu, memory, events, seconds: before.0.elapsed().as_secs_f64() })
}

/// A page that somebody leaves open.
async fn look(socket: std::path::PathBuf, bytes: Arc<AtomicU64>) -> anyhow::Result<()> {
    let mut server = UnixStream::connect(&socket).await.context("a page")?;
    server.write_all(b"GET /api/v1/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
    let mut piece = vec![0; 64 << 10];
    loop {
        match server.read(&mut piece).await? {
            0 => return Ok(()),
            read => bytes.fetch_add(read as u64, Ordering::Relaxed),
        };
    }
}
