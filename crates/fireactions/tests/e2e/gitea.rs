//! Jobs of a real Gitea, and of a real Forgejo where one is given, in real microVMs, from the push to the result. The runner is
//! the stand-in for act_runner and forgejo-runner, or the real ones (see `testkit::job_runner`).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fireactions_testkit::real_gitea::{Place, RealGitea, available, forgejo};
use fireactions_testkit::{certificate, job_runner};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::actions_cache::{self, FIND, SAVE, step};
use crate::world::{BOOT, Setup, World, pool_of, text};

const PORT: u16 = 8097;
/// The host, as guests reach it.
const HOST: &str = "172.30.0.1";

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forge {
    Gitea,
    Forgejo,
}

/// What a configuration is made from.
pub(crate) struct Given {
    /// Gitea for guests, and as it calls itself.
    url: String,
    /// A file with the administrator's token.
    token_file: PathBuf,
    /// A file with the authority of Gitea's certificate; nothing without TLS.
    ca_file: Option<PathBuf>,
    /// An image with both runners.
    image: String,
    /// YAML of a pool whose guests may reach Gitea, indented by four.
    network: String,
}

impl Given {
    /// One pool of the organization's, of at most so many machines, and the forge with `more` keys.
    pub(crate) fn setup(&self, forge: Forge, most: u32, more: &str) -> Setup {
        let kind = if forge == Forge::Gitea { "gitea" } else { "forgejo" };
        let way = self
            .ca_file
            .as_ref()
            .map_or_else(|| "insecure_http: true".to_owned(), |file| format!("ca_file: {}", file.display()));
        let pool = pool_of("p", 0, most, &self.image, &self.network);
        let wanted = format!("labels: [Debian]\n      organization: acme\n      forge: {kind}");
        Setup {
            pools: pool.replacen("labels: [p]", &wanted, 1),
            more: format!(
                "{kind}:\n  url: {}\n  {way}\n  api_token_file: {}\n{more}",
                self.url,
                self.token_file.display()
            ),
            ..Setup::default()
        }
    }
}

/// A world with a real Gitea in it, with the organization `acme` and its repository `acme/app`.
pub(crate) struct GiteaWorld {
    pub(crate) world: World,
    pub(crate) gitea: RealGitea,
    /// The token.
    files: tempfile::TempDir,
}

impl GiteaWorld {
    /// Starts the forge and then a server with what `setup` makes of it. Nothing where there is none, and `test` is said to be
    /// skipped.
    pub(crate) fn start(forge: Forge, test: &str, setup: impl FnOnce(&Given) -> Setup) -> Option<Self> {
        Self::start_at(Place::default(), forge, test, setup)
    }

    /// The same for a forge that differs in `place` from others, but for where it is.
    fn start_at(place: Place, forge: Forge, test: &str, setup: impl FnOnce(&Given) -> Setup) -> Option<Self> {
        let program = match forge {
            Forge::Gitea => available(test)?,
            Forge::Forgejo => forgejo(test)?,
        };
        let files = tempfile::tempdir().unwrap();
        let scheme = if place.tls { "https" } else { "http" };
        let given = Given {
            url: format!("{scheme}://{HOST}:{PORT}"),
            token_file: files.path().join("token"),
            ca_file: place.tls.then(|| files.path().join("ca.pem")),
            image: job_runner::image(),
            network: format!("    network: {{host_ports: [tcp/{PORT}]}}\n"),
        };
        let mut world = World::new(setup(&given));
        let place = Place { listen: ([0, 0, 0, 0], PORT).into(), host: HOST.to_owned(), ..place };
        let gitea = world.namespace.inside(move || RealGitea::start(&program, &place));
        gitea.organization("acme");
        gitea.repository("acme/app");
        fs::write(&given.token_file, gitea.token()).unwrap();
        fs::set_permissions(&given.token_file, fs::Permissions::from_mode(0o600)).unwrap();
        if let Some(file) = &given.ca_file {
            fs::write(file, gitea.authority().unwrap()).unwrap();
        }
        assert_eq!(gitea.url(), given.url);
        world.boot();
        Some(Self { world, gitea, files })
    }

    /// Ends Gitea and the server, and proves that nothing is left.
    pub(crate) fn finish(self) {
        let Self { world, gitea, files } = self;
        drop(gitea);
        world.finish();
        drop(files);
    }
}

/// The rows of the forge's runners, the oldest first.
fn rows(world: &World) -> Vec<Value> {
    let mut rows = world.json(&["jobs", "list"]).as_array().unwrap().clone();
    rows.retain(|row| row["remote"]["runner"].is_string());
    rows.sort_by_key(|row| row["queued_at"].as_str().unwrap().to_owned());
    rows
}

/// Waits until so many rows are final and no machine is left, and gives them.
pub(crate) fn settled(world: &World, count: usize) -> Vec<Value> {
    world.wait(Duration::from_secs(600), "all rows to be final", || {
        let rows = rows(world);
        let is_over =
            |row: &Value| ["succeeded", "failed", "cancelled"].iter().any(|state| row["state"] == *state);
        (rows.len() >= count && rows.iter().all(is_over)).then_some(rows)
    })
}

pub(crate) fn workflow(jobs: &str) -> String {
    format!("on: push\njobs:\n{jobs}")
}

fn succeeds_fails_and_is_cancelled(forge: Forge) {
    let test = format!("jobs of a real {forge:?} in machines");
    // With the usual interval between two looks at the queue.
    let started = GiteaWorld::start(forge, &test, |given| given.setup(forge, 2, actions_cache::SECTION));
    let Some(GiteaWorld { world, gitea, .. }) = &started else { return };
    let job = |name: &str, run: &str| {
        workflow(&format!("  {name}:\n    runs-on: Debian\n    steps:\n{}", step(run)))
    };
    gitea.push_workflow("acme/app", "good", &job("good", &format!("{SAVE}echo ran on $(uname -n)")));
    let good = settled(world, 1).remove(0);
    assert_eq!(
        (&good["state"], &good["remote"]["conclusion"]),
        (&"succeeded".into(), &"success".into()),
        "{good}"
    );
    assert_eq!(
        (&good["remote"]["repository"], &good["remote"]["name"]),
        (&"acme/app".into(), &"good".into()),
        "{good}"
    );
    // The runner's own log is all there, and the row says what is known of the job.
    let id = good["id"].as_str().unwrap();
    let log = text(&world.cli(&["jobs", "logs", id]).stdout);
    assert!(log.contains("declare") && log.contains("repo is acme/app"), "{log}");
    let shown = text(&world.cli(&["jobs", "show", id]).stdout);
    for word in ["acme/app", "good", "Debian", "success"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }

    let cached = world.json(&["cache", "list"]);
    let place = (&cached[0]["key"], &cached[0]["scope"]);
    assert_eq!(place, (&"deps".into(), &"refs/heads/main".into()), "{cached}\n{}", world.log());
    assert!(cached[0]["repository"].as_str().unwrap().contains("/acme/app#"), "{cached}");

    // Of another repository: it does not find what that job saved.
    gitea.repository("acme/other");
    gitea.push_workflow("acme/other", "bad", &job("bad", &format!("{FIND}exit 3")));
    let bad = settled(world, 2).remove(1);
    assert_eq!((&bad["state"], &bad["remote"]["conclusion"]), (&"failed".into(), &"failure".into()), "{bad}");

    let searched = ["hits", "misses"].map(|of| actions_cache::metric(world, &format!("{of}_total")));
    assert_eq!(searched, [0, 1], "{bad}\n{}", world.log());

    let long = job("long", &format!("{FIND}sleep 600"));
    gitea.push("acme/app", &[(".gitea/workflows/good.yml", ""), (".gitea/workflows/long.yml", &long)]);
    let busy = world.wait(BOOT, "the long job to run", || {
        let row = rows(world).into_iter().nth(2)?;
        // Where its runner was made for this job, the row knows the job before the runner has it.
        let begun = row["state"] == "running" && row["remote"]["picked_up_at"].is_string();
        (begun && row["remote"]["id"].is_u64()).then_some(row)
    });
    let machine = busy["machine"].as_str().unwrap();
    world.wait(BOOT, "the long job to have looked into the cache", || {
        world.exec(machine, "test -e /tmp/found").status.success().then_some(())
    });
    actions_cache::assert_found(world, machine, good["machine"].as_str().unwrap());
    let run = match forge {
        Forge::Gitea => busy["remote"]["run_id"].as_u64().unwrap(),
        // Its queue names no run, and its pages count those of a repository.
        Forge::Forgejo => {
            let runs = gitea.get("repos/acme/app/actions/runs?limit=50");
            let runs = runs["workflow_runs"].as_array().unwrap();
            runs.iter().find(|run| run["workflow_id"] == "long.yml").unwrap()["index_in_repo"]
                .as_u64()
                .unwrap()
        }
    };
    let took = cancelled(world, machine, || gitea.cancel_run("acme/app", run));
    println!("{forge:?}: the machine was gone {:.1} s after its job was cancelled", took.as_secs_f64());
    let cancelled = settled(world, 3).remove(2);
    assert_eq!(cancelled["state"], "cancelled", "{cancelled}");
    assert_eq!(cancelled["remote"]["conclusion"], "cancelled", "{cancelled}");
    let counts = actions_cache::counts(world);
    assert_eq!((&counts["jobs"], &counts["entries"], &counts["errors"]), (&0.into(), &1.into(), &0.into()));
    world.wait(BOOT, "no runner to be left", || gitea.runners("orgs/acme").is_empty().then_some(()));
    started.unwrap().finish();
}

/// Has a job cancelled at its forge, which tells its runner nothing, and gives how long after that its machine's VMM was there.
fn cancelled(world: &World, machine: &str, cancel: impl FnOnce()) -> Duration {
    let is_there = || world.all_processes().iter().any(|(_, command)| command.contains(machine));
    assert!(is_there(), "{:?}", world.all_processes());
    let begun = Instant::now();
    cancel();
    while is_there() {
        assert!(begun.elapsed() < BOOT, "the machine goes on\n{}", world.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    begun.elapsed()
}

#[test]
fn a_job_of_a_real_gitea_succeeds_fails_and_is_cancelled() {
    succeeds_fails_and_is_cancelled(Forge::Gitea);
}

#[test]
fn a_job_of_a_real_forgejo_succeeds_fails_and_is_cancelled() {
    succeeds_fails_and_is_cancelled(Forge::Forgejo);
}

fn many_at_once(forge: Forge) {
    let test = format!("many jobs of a real {forge:?} at once");
    let started = GiteaWorld::start(forge, &test, |given| given.setup(forge, 3, "  poll_interval: 1s\n"));
    let Some(GiteaWorld { world, gitea, .. }) = &started else { return };
    let count = if std::env::var_os("FIREACTIONS_LONG").is_some() { 20 } else { 6 };
    let job = |n| format!("  job{n}:\n    runs-on: Debian\n    steps:\n      - run: echo ran {n}\n");
    let jobs: Vec<String> = (0..count).map(job).collect();
    gitea.push_workflow("acme/app", "many", &workflow(&jobs.concat()));
    let rows = settled(world, count);
    assert_eq!(rows.len(), count, "one machine for each job: {rows:#?}");
    assert!(rows.iter().all(|row| row["state"] == "succeeded"), "{rows:#?}\n{}", world.log());
    let names: BTreeSet<_> =
        rows.iter().map(|row| row["remote"]["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, (0..count).map(|n| format!("job{n}")).collect());
    world.wait(BOOT, "no runner to be left", || gitea.runners("orgs/acme").is_empty().then_some(()));
    started.unwrap().finish();
}

#[test]
fn many_jobs_of_a_real_gitea_at_once() {
    many_at_once(Forge::Gitea);
}

#[test]
fn many_jobs_of_a_real_forgejo_at_once() {
    many_at_once(Forge::Forgejo);
}

/// The company's own authority is in no image.
#[test]
fn a_real_gitea_whose_certificate_only_ca_file_vouches_for_has_its_jobs_run() {
    let test = "jobs of a real Gitea with a certificate of its own authority";
    if !job_runner::is_real(test) {
        return;
    }
    let place = Place { tls: true, ..Place::default() };
    let started = GiteaWorld::start_at(place, Forge::Gitea, test, |given| given.setup(Forge::Gitea, 1, ""));
    let Some(GiteaWorld { world, gitea, .. }) = &started else { return };
    let job = "  tls:\n    runs-on: Debian\n    steps:\n      - run: grep -c BEGIN $GIT_SSL_CAINFO $NODE_EXTRA_CA_CERTS\n";
    gitea.push_workflow("acme/app", "tls", &workflow(job));
    let row = settled(world, 1).remove(0);
    assert_eq!(row["state"], "succeeded", "{row}\n{}", world.log());
    started.unwrap().finish();
}

/// A runner is in the middle of its job; its server is killed, and comes back.
#[test]
fn a_job_of_a_real_gitea_goes_on_over_a_crash_of_the_server() {
    let test = "a job of a real Gitea over a crash of the server";
    let files = tempfile::tempdir().unwrap();
    let authority = files.path().join("authority.pem");
    fs::write(&authority, certificate::stranger()).unwrap();
    let trusted = format!("  ca_file: {}\n{}", authority.display(), actions_cache::SECTION);
    let started = GiteaWorld::start(Forge::Gitea, test, |given| given.setup(Forge::Gitea, 1, &trusted));
    let Some(GiteaWorld { mut world, gitea, files: token }) = started else { return };
    // Under the new server it saves with the token that the old one gave it.
    let wait = "until [ -e /run/go ]; do sleep 0.2; done\ngrep -q BEGIN $GIT_SSL_CAINFO";
    let job =
        format!("  long:\n    runs-on: Debian\n    steps:\n{}", step(&format!("{wait}\n{}", SAVE.trim())));
    gitea.push_workflow("acme/app", "long", &workflow(&job));
    let busy = world.wait(BOOT, "the job to run", || {
        let row = rows(&world).into_iter().next()?;
        (row["state"] == "running" && row["remote"]["picked_up_at"].is_string()).then_some(row)
    });
    world.signal_server(Signal::SIGKILL);
    world.server_ended(Duration::from_secs(60));
    world.boot();
    // It ends only now, under the new server.
    let machine = busy["machine"].as_str().unwrap();
    world.wait(BOOT, "the machine to listen", || {
        world.exec(machine, "touch /run/go").status.success().then_some(())
    });
    let done = settled(&world, 1);
    assert_eq!(done.len(), 1, "{done:#?}");
    assert_eq!(
        (&done[0]["id"], &done[0]["machine"], &done[0]["state"], &done[0]["remote"]["conclusion"]),
        (&busy["id"], &busy["machine"], &"succeeded".into(), &"success".into()),
        "{done:#?}\n{}",
        world.log()
    );
    let cached = world.json(&["cache", "list"]);
    assert_eq!(
        (cached[0]["key"].as_str(), cached[0]["scope"].as_str()),
        (Some("deps"), Some("refs/heads/main")),
        "{cached}\n{}",
        world.log()
    );
    world.wait(BOOT, "no runner to be left", || gitea.runners("orgs/acme").is_empty().then_some(()));
    GiteaWorld { world, gitea, files: token }.finish();
}

#[test]
fn a_look_at_a_real_gitea_says_what_is_wrong() {
    let started =
        GiteaWorld::start(Forge::Gitea, "a look at a real Gitea", |given| given.setup(Forge::Gitea, 1, ""));
    let Some(GiteaWorld { world, gitea, files }) = &started else { return };
    let config = world.path("config.yaml");
    let program = env!("CARGO_BIN_EXE_fireactions");
    let look = || world.in_namespace(&[program, "gitea", "check", "--config", config.to_str().unwrap()]);
    let well = look();
    assert!(well.status.success(), "{}", text(&well.stdout));
    assert!(text(&well.stdout).contains("Gitea 1.26.0"), "{}", text(&well.stdout));
    // What no machine reaches is said, whatever this host reaches.
    let written = fs::read_to_string(&config).unwrap();
    let told = |changed: String, words: &str| {
        fs::write(&config, changed).unwrap();
        let ill = look();
        let said = text(&ill.stdout);
        assert!(ill.status.code() == Some(1) && said.contains(words), "{words}: {said}");
    };
    told(
        written.replace(&format!("url: http://{HOST}"), "url: http://127.0.0.1"),
        "in a machine it means the machine",
    );
    told(written.replace(&format!("host_ports: [tcp/{PORT}]"), "host_ports: [tcp/1]"), "cannot reach");
    fs::write(&config, &written).unwrap();
    fs::write(files.path().join("token"), gitea.token_of("boss", &["read:repository"])).unwrap();
    let ill = look();
    assert_eq!(ill.status.code(), Some(1));
    assert!(text(&ill.stdout).contains("write:organization"), "{}", text(&ill.stdout));
    started.unwrap().finish();
}
