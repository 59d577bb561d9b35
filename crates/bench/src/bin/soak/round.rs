//! The way of many jobs through one state directory, over several servers.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use fireactions_api::{Client, ClientError, Code, JobFilter, LogEvent, ScaleRequest, Target};
use fireactions_model::{JobId, JobRecord, JobState, MachineView, PoolName};
use fireactions_testkit::busybox;
use futures::StreamExt;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::Args;
use crate::books::{self, Counts};
use crate::faults::{End, Stopped, kill_vmm};
use crate::load::{Kind, OUTPUT};
use crate::trend::{Sample, slope};
use fireactions_bench::leaks::World;
use fireactions_bench::server::{Server, Setup};
use fireactions_bench::usage;

const CGROUP: &str = "fireactions-soak";
const TICK: Duration = Duration::from_millis(50);
/// A job that is not final after this is lost, whatever it says.
const JOB_DEADLINE: Duration = Duration::from_secs(600);
/// Everything must be gone this soon after the last job.
const REST_DEADLINE: Duration = Duration::from_secs(120);
/// Looks at a server at rest, and the time before each: together longer than any of the server's periods.
const REST_LOOKS: u32 = 25;
const REST_PAUSE: Duration = Duration::from_millis(500);
/// An API that does not answer for this long is down: a server starts in a second or two.
const API_DEADLINE: Duration = Duration::from_secs(60);
/// More growth than this, in KiB per thousand machines, is a leak.
const STEEPEST: f64 = 4096.0;
/// The last part of a round, in which servers die.
const CALM: f64 = 0.6;
/// How many servers die in a round.
const DEATHS: u64 = 9;

/// One round.
pub(crate) struct Round {
    pub(crate) name: &'static str,
    pub(crate) machines: u64,
    pub(crate) at_once: usize,
    /// What stands in for QEMU.
    pub(crate) vmm: Option<PathBuf>,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Report {
    jobs: BTreeMap<Kind, u64>,
    machines: u64,
    deaths: u64,
    /// Requests that failed because a server had just ended.
    forgiven: BTreeMap<&'static str, u64>,
    wrong: Vec<String>,
    slope: Option<f64>,
    rss: (f64, f64),
    before: Counts,
    after: Counts,
    left: Vec<String>,
}

impl Report {
    pub(crate) fn is_clean(&self) -> bool {
        self.wrong.is_empty()
            && self.left.is_empty()
            && self.before == self.after
            && self.slope.is_none_or(|slope| slope <= STEEPEST)
    }

    pub(crate) fn print(&self, round: &Round, took: Duration) {
        let jobs: u64 = self.jobs.values().sum();
        println!(
            "soak: {}: {} machines for {jobs} jobs, {} servers ended under them, {:.0} s",
            round.name,
            self.machines,
            self.deaths,
            took.as_secs_f64()
        );
        let kinds: Vec<String> = self.jobs.iter().map(|(kind, count)| format!("{count} {kind:?}")).collect();
        println!("  jobs: {}", kinds.join(", "));
        println!("  {:<32} {:>8} {:>8}", "", "before", "after");
        for (kind, before) in &self.before {
            let after = self.after.get(kind).copied().unwrap_or_default();
            let verdict = if *before == after { "" } else { "  NOT as before" };
            println!("  {kind:<32} {before:>8} {after:>8}{verdict}");
        }
        let (least, most) = self.rss;
        print!("  server's memory: {least:.1} to {most:.1} MiB");
        match self.slope {
            Some(slope) => println!(", slope {slope:+.0} KiB per 1,000 machines (at most {STEEPEST:.0})"),
            None => println!(", too few machines for a slope"),
        }
        for (what, times) in &self.forgiven {
            println!("  forgiven after a server's end: {times} × {what}");
        }
        for what in self.wrong.iter().chain(&self.left) {
            println!("  WRONG: {what}");
        }
    }
}

/// A job under way.
struct Active {
    kind: Kind,
    since: Instant,
    /// What is done to it has been done.
    touched: bool,
}

pub(crate) async fn run(args: &Args, round: &Round, state: &Path, seed: u64) -> anyhow::Result<Report> {
    let server = Server::start(setup(args, round, state)?)?;
    let world = World::look(state, CGROUP);
    let mut report = Report { before: at_rest(&world, &server).await?, ..Report::default() };
    let client = Client::new(Target::Socket(server.setup().socket()), None)?;
    let mut course = Course {
        round,
        client,
        server: Some(server),
        random: StdRng::seed_from_u64(seed),
        active: BTreeMap::new(),
        stopped: Stopped::default(),
        samples: Vec::new(),
        ends: 0,
        report: &mut report,
    };
    let warm = u32::try_from(round.at_once / 4)?;
    course.scale(warm).await?;
    while course.goes_on() {
        course.turn().await?;
        tokio::time::sleep(TICK).await;
    }
    course.scale(0).await?;
    course.until_rest().await?;
    let server = course.server.take().context("there is no server")?;
    // Its connections are the server's descriptors, too.
    drop(course);
    let after = World::look(state, CGROUP);
    report.after = at_rest(&after, &server).await?;
    report.left = world.left_behind_but(&after, &["processes"]);
    server.stop()?;
    Ok(report)
}

fn setup(args: &Args, round: &Round, state: &Path) -> anyhow::Result<Setup> {
    let vmm = round.vmm.as_ref().map(|path| format!(", qemu_binary: {}", path.display())).unwrap_or_default();
    let more = format!(
        "vmm: {{accel: tcg, cgroup_parent: {CGROUP}{vmm}}}\nhost: {{vcpus: 256, memory_mib: 262144}}\n\
         network: {{bridge: fasoak0, subnet: 172.31.236.0/22, dns: []}}\nimages: {{local_dirs: [/nowhere]}}\n\
         pools:\n  - name: soak\n    min_runners: 0\n    max_runners: {at_once}\n    disk_size_mib: 64\n\
         \x20   deadlines: {{boot: 5m, image: 10m}}\n\
         \x20   runner: {{image: '{image}', labels: [soak]}}\n\
         \x20   firecracker: {{machine_config: {{vcpu_count: 1, mem_size_mib: 256}}}}\n",
        at_once = round.at_once,
        image = busybox::reference(),
    );
    Setup::new(&args.programs, state, &more)
}

/// A round as far as it is.
struct Course<'a> {
    round: &'a Round,
    client: Client,
    server: Option<Server>,
    random: StdRng,
    active: BTreeMap<JobId, Active>,
    stopped: Stopped,
    samples: Vec<Sample>,
    ends: u64,
    report: &'a mut Report,
}

impl Course<'_> {
    fn goes_on(&self) -> bool {
        !self.active.is_empty() || self.report.machines < self.round.machines
    }

    /// One look at everything.
    async fn turn(&mut self) -> anyhow::Result<()> {
        while self.active.len() < self.round.at_once
            && self.report.machines + (self.active.len() as u64) < self.round.machines
        {
            let kind = Kind::pick(&mut self.random);
            let job = self.submit(kind).await?;
            self.active.insert(job, Active { kind, since: Instant::now(), touched: false });
        }
        self.stopped.go_on();
        let machines = self.client.machines().await?;
        for id in self.active.keys().cloned().collect::<Vec<_>>() {
            let job = self.client.job(&id).await?;
            self.look(&job, &machines).await?;
        }
        self.sample()?;
        self.end_a_server().await
    }

    async fn submit(&self, kind: Kind) -> anyhow::Result<JobId> {
        let spec = kind.spec(self.round.vmm.is_none());
        // Not asked again when unanswered: there would be two. Servers end only between turns.
        Ok(self.client.submit(&spec, &[] as &[&Path]).await?.id)
    }

    async fn look(&mut self, job: &JobRecord, machines: &[MachineView]) -> anyhow::Result<()> {
        let Some(active) = self.active.get_mut(&job.id) else { return Ok(()) };
        let (kind, since) = (active.kind, active.since);
        if job.state.is_final() {
            self.active.remove(&job.id);
            *self.report.jobs.entry(kind).or_default() += 1;
            self.report.machines += u64::from(job.attempt);
            let mut as_expected = kind.ends_so(job);
            if as_expected && kind == Kind::Prints {
                as_expected = self.output_of(&job.id).await? == OUTPUT;
            }
            if !as_expected {
                self.report.wrong.push(format!("{kind:?}: {} {} {:?}", job.id, job.state, job));
            }
            return Ok(());
        }
        ensure!(since.elapsed() < JOB_DEADLINE, "{kind:?} job {} is still {}", job.id, job.state);
        if active.touched {
            return Ok(());
        }
        let pid = machines.iter().find(|view| view.job.as_ref() == Some(&job.id)).and_then(|view| view.pid);
        let runs = job.state == JobState::Running;
        match (kind, pid) {
            (Kind::VmmKilled, Some(pid)) if runs => kill_vmm(pid),
            (Kind::VmmStopped, Some(pid)) if runs => self.stopped.stop(pid),
            (Kind::Cancelled, _) if runs => drop(self.client.cancel(&job.id).await?),
            (Kind::NoImage, _) if since.elapsed() > Duration::from_secs(2) => {
                drop(self.client.cancel(&job.id).await?);
            }
            _ => return Ok(()),
        }
        if let Some(active) = self.active.get_mut(&job.id) {
            active.touched = true;
        }
        Ok(())
    }

    /// How many bytes of output the job's log has.
    async fn output_of(&self, job: &JobId) -> anyhow::Result<usize> {
        let mut log = self.client.job_log(job, 0, false).await?;
        let mut bytes = 0;
        while let Some(event) = log.next().await {
            if let LogEvent::Output(chunk) = event? {
                bytes += chunk.data.len();
            }
        }
        Ok(bytes)
    }

    fn sample(&mut self) -> anyhow::Result<()> {
        let server = self.server.as_ref().context("there is no server")?;
        let mib = usage::resident(server.pid())?;
        let (least, most) = self.report.rss;
        self.report.rss = (if least == 0.0 { mib } else { least.min(mib) }, most.max(mib));
        #[allow(clippy::cast_precision_loss, reason = "some thousand machines")]
        let sample = Sample { machines: self.report.machines as f64, mib };
        // Only the first server's: each begins anew.
        if self.ends == 0 {
            self.samples.push(sample);
            self.report.slope = slope(&self.samples);
        }
        Ok(())
    }

    /// Ends the server when it is time, and starts the next.
    async fn end_a_server(&mut self) -> anyhow::Result<()> {
        #[allow(clippy::cast_precision_loss, reason = "some thousand machines")]
        let part = self.report.machines as f64 / self.round.machines as f64;
        #[allow(clippy::cast_precision_loss, reason = "a handful")]
        let due = CALM + (1.0 - CALM) * self.ends as f64 / DEATHS as f64;
        if part < due || self.ends == DEATHS || self.active.is_empty() {
            return Ok(());
        }
        let end = End::ALL[usize::try_from(self.ends)? % End::ALL.len()];
        let server = self.server.take().context("there is no server")?;
        self.server = Some(end.of(server)?);
        self.ends += 1;
        self.report.deaths += 1;
        self.answered().await
    }

    async fn scale(&self, min: u32) -> anyhow::Result<()> {
        let to = ScaleRequest { min: Some(min), max: None };
        self.client.scale_pool(&PoolName::new("soak")?, to).await?;
        Ok(())
    }

    /// Waits until no machine is left, and no job.
    async fn until_rest(&self) -> anyhow::Result<()> {
        let pool = PoolName::new("soak")?;
        // Idle machines would stay for a minute.
        self.client.pause_pool(&pool, true).await?;
        let end = Instant::now() + REST_DEADLINE;
        loop {
            let machines = self.client.machines().await?;
            let filter = JobFilter { active: true, ..JobFilter::default() };
            let jobs = self.client.jobs(&filter).await?;
            if machines.is_empty() && jobs.is_empty() {
                return Ok(());
            }
            if Instant::now() > end {
                bail!("not at rest after {REST_DEADLINE:?}: {machines:?}, {jobs:?}");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits for the next server's first answer. Only here is an error forgiven, only one that a server's end makes, and each
    /// is told in the report.
    async fn answered(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + API_DEADLINE;
        loop {
            let Err(error) = self.client.machines().await else { return Ok(()) };
            let Some(what) = of_a_servers_end(&error).filter(|_| Instant::now() < end) else {
                return Err(error).context("the next server's first answer");
            };
            *self.report.forgiven.entry(what).or_default() += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Whether a request fails so because a server has just ended, and how.
fn of_a_servers_end(error: &ClientError) -> Option<&'static str> {
    match error {
        ClientError::Unreachable { kind: Some(ErrorKind::NotFound), .. } => Some("there is no socket"),
        ClientError::Unreachable { kind: Some(ErrorKind::ConnectionRefused), .. } => {
            Some("nobody listens at the socket")
        }
        ClientError::Broken { .. } => Some("the connection to the server before broke"),
        ClientError::Refused(fault) if fault.code == Code::Unavailable => Some("the server is not ready yet"),
        _ => None,
    }
}

/// Counts of a server that has come to rest. What leaks stays. What the server does now and then has threads and files that
/// go again, as its look at its rules: so of several looks, the least counts.
async fn at_rest(world: &World, server: &Server) -> anyhow::Result<Counts> {
    let mut least = Counts::new();
    for _ in 0..REST_LOOKS {
        // Not the thread: connections are closed on it.
        tokio::time::sleep(REST_PAUSE).await;
        for (kind, count) in books::counts(world, server.pid(), server.setup().state())? {
            least.entry(kind).and_modify(|least| *least = count.min(*least)).or_insert(count);
        }
    }
    Ok(least)
}
