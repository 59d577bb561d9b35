//! What the page costs the one who looks: Debian's Chromium without a window, at a real server with two hundred stand-in machines.
//! What is done in it is in web/tests/browser/bench.mjs.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use fireactions_api::Client;
use fireactions_bench::report::{Goal, Load, Report};
use fireactions_bench::server::Server;
use fireactions_model::JobState;
use fireactions_testkit::browser;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::Args;
use crate::fleet::{self, Pool};
use crate::hosted;

/// One of them has a job that hangs, for what waits behind it.
const MACHINES: usize = 200;
const ADDRESS: &str = "127.0.0.1:8080";
/// How much slower the slow processor is, as bench.mjs has it.
const SLOW: u32 = 4;
const VIEWS: [&str; 3] = ["overview", "jobs", "machines"];

pub(crate) fn measure(args: &Args, work: &Path, report: &mut Report) -> anyhow::Result<()> {
    let Some(web) = browser::available("bench: the page in a browser") else {
        report.note("the page in a browser: not measured, for there is no browser, or no page");
        return Ok(());
    };
    report.load("the page in a browser");
    hosted::loopback_up()?;
    let pools = [Pool("warm", MACHINES - 1, MACHINES), Pool("full", 0, 1)];
    let setup = fleet::setup(args, &work.join("browser"), false, &pools)?;
    let mut server = Server::start(setup.with(&format!("bind_address: {ADDRESS}\n"))?)?;
    let client = fleet::client(&server)?;
    let runtime = Runtime::new()?;
    let holder = runtime.block_on(async {
        fleet::ready(&mut server, &client, MACHINES - 1).await?;
        let holder = fleet::submit(&client, "full", "hang").await?;
        fleet::job_when(&client, &holder.id, |job| job.state == JobState::Running).await
    })?;
    let mut noise = Noise { runtime, client, running: None, began: None, reached: BTreeMap::new() };
    let measured = drive(args, &web, &server, &mut noise)?;
    noise.runtime.block_on(noise.client.cancel(&holder.id))?;
    tell(&measured, &noise.reached, report)?;
    server.stop()
}

/// Runs the other half: does what it asks for, and takes what it has measured.
fn drive(
    args: &Args,
    web: &Path,
    server: &Server,
    noise: &mut Noise,
) -> anyhow::Result<BTreeMap<String, f64>> {
    let cli = server.command();
    let words = std::iter::once(cli.get_program()).chain(cli.get_args()).map(|word| word.to_string_lossy());
    let cli = json!(words.collect::<Vec<_>>()).to_string();
    let mut node = Command::new("setpriv")
        .args(["--pdeathsig", "TERM", "node"])
        .arg(web.join("tests/browser/main.mjs"))
        .arg("bench")
        .env("PAGE_URL", format!("http://{ADDRESS}/"))
        .env("PAGE_CLI", cli)
        .env("PAGE_TIMES", args.times(7, 2).to_string())
        .env("PAGE_WATCHED", args.times(10, 2).to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("node")?;
    let mut answers = node.stdin.take().context("its input")?;
    let mut measured = BTreeMap::new();
    let mut passed = false;
    for line in BufReader::new(node.stdout.take().context("its output")?).lines() {
        let line = line?;
        match line.split_once(' ') {
            Some(("ask", what)) => {
                noise.deed(what)?;
                answers.write_all(b"done\n")?;
            }
            Some(("measured", what)) => {
                let (name, value) = what.split_once(' ').with_context(|| what.to_owned())?;
                measured.insert(name.to_owned(), value.parse().with_context(|| what.to_owned())?);
            }
            _ => passed |= line == "passed",
        }
    }
    let status = node.wait()?;
    ensure!(status.success() && passed, "what looks at the page failed ({status}); it said why above");
    Ok(measured)
}

/// Job events while somebody looks, and how many there were.
struct Noise {
    runtime: Runtime,
    client: Client,
    running: Option<Running>,
    began: Option<(Instant, u64)>,
    /// Events a second, by the view that was watched.
    reached: BTreeMap<String, f64>,
}

/// Clients that make events.
struct Running {
    done: Arc<AtomicBool>,
    events: Arc<AtomicU64>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Noise {
    fn deed(&mut self, what: &str) -> anyhow::Result<()> {
        let count = self.running.as_ref().map_or(0, |running| running.events.load(Ordering::Relaxed));
        match what {
            "noise" => {
                let (done, events) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
                let noise = fleet::noise(self.client.clone(), Arc::clone(&done), Arc::clone(&events));
                self.running = Some(Running { done, events, task: self.runtime.spawn(noise) });
            }
            "begin" => self.began = Some((Instant::now(), count)),
            "quiet" => {
                let Running { done, task, .. } = self.running.take().context("there is no noise")?;
                done.store(true, Ordering::Relaxed);
                self.runtime.block_on(task)??;
            }
            other => {
                let Some(view) = other.strip_prefix("watched ") else { bail!("it asks for {other}") };
                let (began, before) = self.began.take().context("nothing has begun")?;
                #[allow(clippy::cast_precision_loss, reason = "some thousand")]
                let events = (count - before) as f64;
                self.reached.insert(view.to_owned(), events / began.elapsed().as_secs_f64());
            }
        }
        Ok(())
    }
}

fn tell(
    measured: &BTreeMap<String, f64>,
    reached: &BTreeMap<String, f64>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let of = |name: &str| measured.get(name).copied().with_context(|| format!("{name} was not measured"));
    let slow = format!("  on a processor {SLOW} times slower");
    for (name, words) in [("paint", "the page: first paint"), ("interactive", "the page: interactive")] {
        report.row(words, of(&format!("{name}_at_1"))?, "ms");
        report.row(&slow, of(&format!("{name}_at_{SLOW}"))?, "ms");
    }
    let machines = format!("{MACHINES} machines: shown");
    report.judged(machines, of("machines_at_1")?, "ms", Goal::AtMost(100.0));
    report.row("  for the first time", of("machines_first_at_1")?, "ms");
    report.row(&slow, of(&format!("machines_at_{SLOW}"))?, "ms");
    for view in VIEWS {
        #[allow(clippy::cast_precision_loss, reason = "some hundred")]
        let wanted = fleet::EVENTS as f64;
        let seen = reached.get(view).copied().with_context(|| format!("{view} was not watched"))?;
        let load = Load { wanted, reached: seen, unit: "events/s" };
        report.row(
            format!("job events while the {view} are looked at").replace("overview are", "overview is"),
            seen,
            "events/s",
        );
        report.judged_under(
            load,
            "  frames dropped",
            of(&format!("{view}_dropped"))?,
            "%",
            Goal::AtMost(1.0),
        );
        report.row("  a frame, p99", of(&format!("{view}_p99"))?, "ms");
        report.row("  the page's own thread", of(&format!("{view}_busy"))?, "% of a core");
    }
    report.judged("log of 1,000,000 lines: its first lines", of("log_first")?, "ms", Goal::AtMost(1000.0));
    report.row("  all of it", of("log_whole")?, "ms");
    report.row("  search to the end", of("log_search")?, "ms");
    report.row("  JavaScript's heap: the page", of("log_heap_page")?, "MB");
    report.judged("  and with its worker", of("log_heap")?, "MB", Goal::AtMost(200.0));
    report.row("  bytes beside the heap", of("log_heap_beside")?, "MB");
    report.row("  memory of the page's process", of("log_memory")?, "MB");
    report.note(format!(
        "the page in a browser: Chromium without a window, on the same processors as the server and what makes the events; \
         interactive: no task of 50 ms or longer in the next second; {MACHINES} stand-in machines; a frame is one of 60 a second"
    ));
    Ok(())
}
