//! What several forges cost the server while nothing runs, and what they are asked: two Giteas, a Forgejo and a GitHub side
//! by side, first idle, then with a hundred jobs queued at each. The forges are the fakes of `crates/testkit`, in this
//! process, so the server's processor time is its own. Pools are paused: no machine is part of it.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use fireactions_api::Client;
use fireactions_testkit::gitea::{FakeGitea, Release};
use fireactions_testkit::github::{FakeGithub, JobRequest};
use fireactions_testkit::{busybox, standin};

use crate::hosted::{loopback_up, private, until};
use crate::{Args, fleet, hosted};
use fireactions_bench::report::{Goal, Report};
use fireactions_bench::server::{Server, Setup};
use fireactions_bench::usage;

const GITHUB: u16 = 18_096;
/// Pools of one scope, where it has many.
const POOLS: usize = 8;
const QUEUED: usize = 100;
/// How long GitHub keeps the question for a scale set's messages open.
const OPEN: Duration = Duration::from_secs(50);
/// Between a server's start and what is measured: the second audit is over by then.
const REST: Duration = Duration::from_secs(20);
/// The next audit has come by then.
const HEARD: Duration = Duration::from_secs(90);

/// As often as a queue is asked for at most, with the default of 3 s (each pause is a half to the whole of it), and what the
/// audits ask.
const LOOKS: f64 = 45.0;
/// The same where a hundred jobs are two pages.
const PAGED_LOOKS: f64 = 85.0;
/// What an audit of one organization with one repository may count for at GitHub.
const AUDIT: f64 = 5.0;
const CPU: f64 = 0.1;
const MEMORY: f64 = 2.0;

pub(crate) fn measure(args: &Args, work: &Path, report: &mut Report) -> anyhow::Result<()> {
    report.load("forges");
    loopback_up()?;
    let all = Forges::new(work)?;
    let server = Server::start(all.setup(args, &work.join("forges-none"), false)?)?;
    std::thread::sleep(REST);
    let (without, _) = all.watch(args, &server)?;
    server.stop()?;

    let server = Server::start(all.setup(args, &work.join("forges"), true)?)?;
    for pool in all.pools() {
        server.run(&["pools", "pause", &pool])?;
    }
    std::thread::sleep(REST);
    let (with, idle) = all.watch(args, &server)?;
    all.queue();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(all.heard(&fleet::client(&server)?))?;
    let (loaded, queued) = all.watch(args, &server)?;
    server.stop()?;

    costs(report, &all, &without, &with, &loaded);
    requests(report, "idle", &idle, LOOKS);
    requests(report, &format!("{QUEUED} jobs queued"), &queued, PAGED_LOOKS);
    report.note(format!(
        "forges: each has one organization; poll_interval is the default of 3 s, audit_interval 30 s (default 5 min); over http, \
         {} s each, no machines, pools paused; each queued job is a run of its own; requests are counted at the forges; GitHub \
         does not count what did not change (304), and a scale set's poll stays open",
        window(args).as_secs()
    ));
    Ok(())
}

fn window(args: &Args) -> Duration {
    Duration::from_secs(if args.quick { 40 } else { 60 })
}

/// What the server used of a core, in percent, and its memory in MiB.
struct Cost {
    cpu: f64,
    memory: f64,
}

fn costs(report: &mut Report, all: &Forges, without: &Cost, with: &Cost, loaded: &Cost) {
    #[allow(clippy::cast_precision_loss, reason = "four")]
    let each = |with: f64, without: f64| (with - without) / (all.giteas.len() + 1) as f64;
    let pools = all.pools().len();
    report.row(
        format!("a server of {pools} pools without forges, idle: CPU time"),
        without.cpu,
        "% of a core",
    );
    report.row("  memory", without.memory, "MiB");
    report.row("the same with two Giteas, a Forgejo and GitHub, idle: CPU time", with.cpu, "% of a core");
    report.row("  memory", with.memory, "MiB");
    let cpu = each(with.cpu, without.cpu);
    report.judged("  CPU time for each forge", cpu, "% of a core", Goal::AtMost(CPU));
    let memory = each(with.memory, without.memory);
    report.judged("  memory for each forge", memory, "MiB", Goal::AtMost(MEMORY));
    report.row(format!("  with {QUEUED} jobs queued at each: CPU time"), loaded.cpu, "% of a core");
    report.row("  memory", loaded.memory, "MiB");
}

fn requests(report: &mut Report, when: &str, asked: &Asked, paged: f64) {
    for (name, pools, rate) in &asked.giteas {
        // A Forgejo's queue has no pages.
        let most = if *name == "forgejo" { LOOKS } else { paged };
        let what = format!("{name}, one scope of {pools} pools, {when}: requests");
        report.judged(what, *rate, "a minute", Goal::AtMost(most));
    }
    let what = format!("github, one scope of {POOLS} pools, {when}: requests");
    report.row(what, asked.audit, "an audit");
    report.judged("  of them, those that GitHub counts", asked.charged, "an audit", Goal::AtMost(AUDIT));
    report.row("  polls of a scale set beside them", asked.polls, "a minute");
}

/// The forges, and what the server needs for them.
struct Forges {
    /// Each with its name, and how many pools it has.
    giteas: Vec<(&'static str, usize, FakeGitea)>,
    github: FakeGithub,
    app: u64,
    files: std::path::PathBuf,
}

/// How often each was asked.
struct Counted {
    giteas: Vec<u64>,
    github: u64,
    charged: u64,
    audits: u64,
    polls: u64,
}

/// The same by time, or by audit.
struct Asked {
    giteas: Vec<(&'static str, usize, f64)>,
    audit: f64,
    charged: f64,
    polls: f64,
}

impl Forges {
    fn new(work: &Path) -> anyhow::Result<Self> {
        let files = work.join("forges-files");
        std::fs::create_dir(&files)?;
        let (github, app) = hosted::github(&files, GITHUB)?;
        github.set_message_poll(OPEN);
        let mut giteas = Vec::new();
        for (name, pools, release) in [
            ("gitea", 1, Release::GITEA),
            ("other-gitea", POOLS, Release::GITEA),
            ("forgejo", POOLS, Release::FORGEJO),
        ] {
            let fake = FakeGitea::new(release);
            fake.start(TcpListener::bind(("127.0.0.1", 0))?);
            fake.user("boss");
            fake.organization("acme", "boss");
            fake.repository("acme/app");
            private(&files.join(name), &fake.token("boss", &["all"]))?;
            giteas.push((name, pools, fake));
        }
        Ok(Self { giteas, github, app, files })
    }

    /// A server with all the pools; without `forges` they are those of the built-in queue.
    fn setup(&self, args: &Args, state: &Path, forges: bool) -> anyhow::Result<Setup> {
        let files = self.files.display();
        let mut more = format!(
            "shutdown: {{mode: kill}}\nvmm: {{cgroup_parent: fireactions-bench, qemu_binary: {}}}\n\
             network: {{bridge: fabench5, subnet: 172.31.245.0/24, dns: []}}\n",
            standin::program().display()
        );
        if forges {
            let (url, app) = (self.github.url(), self.app);
            writeln!(
                more,
                "github: {{url: '{url}', app_id: {app}, app_private_key_file: {files}/key.pem, audit_interval: 30s}}\nforges:"
            )?;
            for (name, _, fake) in &self.giteas {
                let (url, kind) = (fake.url(), if *name == "forgejo" { "forgejo" } else { "gitea" });
                writeln!(
                    more,
                    "  {name}: {{kind: {kind}, url: '{url}', api_token_file: {files}/{name}, audit_interval: 30s}}"
                )?;
            }
        }
        more += "pools:\n";
        for (forge, pool) in self.owned() {
            let owner = match (forges, forge, pool.as_str()) {
                (false, ..) => String::new(),
                (true, "github", "github-set") => {
                    ", forge: github, organization: acme, scale_set: github-set".into()
                }
                (true, "github", _) => ", forge: github, organization: acme, scale_set: false".into(),
                (true, forge, _) => format!(", forge: {forge}, organization: acme"),
            };
            writeln!(
                more,
                "  - {{name: {pool}, min_runners: 0, max_runners: 4, disk_size_mib: 64, \
                 runner: {{image: '{}', labels: [{pool}]{owner}}}}}",
                busybox::reference()
            )?;
        }
        Setup::new(&args.programs, state, &more)
    }

    /// Each pool with its forge.
    fn owned(&self) -> Vec<(&'static str, String)> {
        let giteas = self.giteas.iter().map(|(name, pools, _)| (*name, *pools));
        let of =
            |(name, pools): (&'static str, usize)| (0..pools).map(move |n| (name, format!("{name}-{n}")));
        let mut all: Vec<_> = giteas.chain([("github", POOLS)]).flat_map(of).collect();
        all.push(("github", "github-set".to_owned()));
        all
    }

    fn pools(&self) -> Vec<String> {
        self.owned().into_iter().map(|(_, pool)| pool).collect()
    }

    /// Queues jobs for the first pool of each scope.
    fn queue(&self) {
        for (name, _, fake) in &self.giteas {
            fake.queue_jobs("acme/app", &[&format!("{name}-0")], QUEUED);
        }
        for _ in 0..QUEUED {
            self.github.queue_job(JobRequest::new("acme/widgets", &["github-0"], "true"));
        }
    }

    /// Waits until the server has heard of all that was queued.
    async fn heard(&self, client: &Client) -> anyhow::Result<()> {
        let all = QUEUED * (self.giteas.len() + 1);
        let heard = async || {
            let queued: u32 = client.pools().await?.iter().map(|pool| pool.queued).sum();
            Ok((queued as usize == all).then_some(()))
        };
        until(HEARD, "the server to hear of all jobs", heard).await
    }

    fn counted(&self) -> Counted {
        let calls = self.github.calls();
        let polls = calls.by_route.iter().filter(|(route, _)| route.starts_with("GET /_actions/_message"));
        Counted {
            giteas: self.giteas.iter().map(|(_, _, fake)| fake.calls()).collect(),
            github: calls.rest(),
            charged: self.github.charged(),
            audits: calls.of("GET /orgs/{org}/actions/runners"),
            polls: polls.map(|(_, count)| count).sum(),
        }
    }

    /// What the server uses for a while, and what the forges are asked meanwhile.
    #[allow(clippy::cast_precision_loss, reason = "some hundred")]
    fn watch(&self, args: &Args, server: &Server) -> anyhow::Result<(Cost, Asked)> {
        let (before, began, used) = (self.counted(), Instant::now(), usage::cpu_of_process(server.pid())?);
        std::thread::sleep(window(args));
        let (now, used) = (self.counted(), usage::cpu_of_process(server.pid())?.saturating_sub(used));
        let seconds = began.elapsed().as_secs_f64();
        let cost = Cost { cpu: used.as_secs_f64() / seconds * 100.0, memory: usage::resident(server.pid())? };
        let a_minute = |now: u64, before: u64| (now - before) as f64 * 60.0 / seconds;
        let audits = (now.audits - before.audits) as f64;
        let an_audit = |now: u64, before: u64| (now - before) as f64 / audits;
        let each = self.giteas.iter().zip(now.giteas.iter().zip(&before.giteas));
        let giteas = each.map(|((name, pools, _), (now, before))| (*name, *pools, a_minute(*now, *before)));
        let asked = Asked {
            giteas: giteas.collect(),
            audit: an_audit(now.github, before.github),
            charged: an_audit(now.charged, before.charged),
            polls: a_minute(now.polls, before.polls),
        };
        Ok((cost, asked))
    }
}
