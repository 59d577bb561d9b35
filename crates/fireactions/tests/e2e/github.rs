//! GitHub's jobs in real microVMs, from the queue to the result. GitHub is a fake that is held to the published description;
//! the runner in the guest is its stand-in.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use fireactions_testkit::github::{Delivery, FakeGithub, Fault, Job, JobId, JobRequest, JobStatus, runner};
use fireactions_vmm::firecracker::api::{Client, Method, Request};

use crate::actions_cache;
use crate::driver::on_firecracker;
use crate::world::{BOOT, Setup, World, pool_of, text};

pub(crate) const PORT: u16 = 8099;
/// Where deliveries of all forges come to.
pub(crate) const WEBHOOK: &str = "127.0.0.1:8098";
const SECRET: &str = "It's a Secret to Everybody";

/// A GitHub, with what a configuration says of it.
pub(crate) struct Octo {
    pub(crate) fake: FakeGithub,
    /// The App's key, the webhook's secret.
    pub(crate) files: tempfile::TempDir,
    /// YAML of its three pools.
    pub(crate) pools: String,
    /// YAML of the forge.
    pub(crate) more: String,
}

/// A world with GitHub in it: three pools of one organization, one of them with a scale set.
struct Octoworld {
    world: World,
    fake: FakeGithub,
    /// The App's key, the webhook's secret.
    files: tempfile::TempDir,
}

fn start(most: u32) -> Octoworld {
    start_at("127.0.0.1", most, "")
}

/// The same with GitHub at another name of the loopback address; `before` is the world's.
fn start_at(host: &str, most: u32, before: &str) -> Octoworld {
    start_with(host, most, before, false)
}

/// With stand-ins for machines there is no runner in them: its program ends at once, with 127.
fn start_with(host: &str, most: u32, before: &str, standin: bool) -> Octoworld {
    let Octo { fake, files, pools, mut more } = Octo::new(host, most);
    more += actions_cache::SECTION;
    let world = World::start(Setup { pools, more, before: before.to_owned(), standin, ..Setup::default() });
    open(&fake, &world);
    Octoworld { world, fake, files }
}

/// Has it answer in the world, and tell the server there of jobs.
pub(crate) fn open(fake: &FakeGithub, world: &World) {
    let listener = world.namespace.listen(([0, 0, 0, 0], PORT));
    // Deliveries are sent from where the fake's thread is, which is where it was started from.
    let started = fake.clone();
    world.namespace.inside(move || started.start(listener));
    open_to(fake, "github");
}

/// Has it tell of its jobs at the path of this forge.
pub(crate) fn open_to(fake: &FakeGithub, forge: &str) {
    fake.webhook(&format!("http://{WEBHOOK}/webhook/{forge}"), SECRET);
}

impl Octo {
    /// At this name of the loopback address, with pools of at most so many machines. Nothing answers yet.
    pub(crate) fn new(host: &str, most: u32) -> Self {
        let files = tempfile::tempdir().unwrap();
        let fake = FakeGithub::new();
        fake.set_url(&format!("http://{host}:{PORT}"));
        fake.set_runner_url(&format!("http://172.30.0.1:{PORT}"));
        fake.set_message_poll(Duration::from_secs(1));
        // A server that is killed leaves its session to be missed.
        fake.set_session_timeout(Duration::from_secs(3));
        fake.repository("acme/widgets");
        let app = fake.app("runners");
        fake.install_fully(app.id, "acme");
        let secret_file = |name: &str, text: &str| {
            let path = files.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            path.display().to_string()
        };
        let (key, secret) = (secret_file("key.pem", &app.pkcs1), secret_file("secret", SECRET));
        let image = runner::image();
        let network = format!("    network: {{host_ports: [tcp/{PORT}]}}\n");
        let pools =
            [("fast", "fast", "fast"), ("small", "debian", "false"), ("large", "debian, gpu", "false")]
                .map(|(name, labels, set)| {
                    let wanted =
                        format!("labels: [{labels}]\n      organization: acme\n      scale_set: {set}");
                    pool_of(name, 0, most, &image, &network).replacen(
                        &format!("labels: [{name}]"),
                        &wanted,
                        1,
                    )
                })
                .concat();
        let more = format!(
            "github:\n  url: http://{host}:{PORT}\n  app_id: {}\n  app_private_key_file: {key}\n  audit_interval: 30s\n  \
         webhook: {{listen: '{WEBHOOK}', secret_file: {secret}}}\n",
            app.id
        );
        Self { fake, files, pools, more }
    }
}

impl Octoworld {
    /// Waits until these jobs are over.
    fn completed(&self, jobs: &[JobId], within: Duration) -> Vec<Job> {
        self.world.wait(within, "GitHub's jobs to end", || {
            let all: Vec<Job> = jobs.iter().map(|id| self.fake.job(*id)).collect();
            all.iter().all(|job| job.status == JobStatus::Completed).then_some(all)
        })
    }

    /// Each job ran once and well, on a runner of its own, and no rule was broken on the way.
    fn all_well(&self, jobs: &[Job]) {
        for job in jobs {
            let well = (job.conclusion.as_deref(), job.runs());
            assert_eq!(well, (Some("success"), 1), "{job:#?}\n{}", self.world.log());
        }
        let runners: BTreeSet<&str> = jobs.iter().filter_map(Job::runner_name).collect();
        assert_eq!(runners.len(), jobs.len(), "no runner had two jobs");
        assert_eq!(self.fake.violations(), Vec::<String>::new());
    }
}

fn request(n: usize, labels: &[&str], script: &str) -> JobRequest {
    JobRequest::new("acme/widgets", labels, script).named(&format!("job {n}"))
}

#[test]
fn jobs_of_github_over_three_pools_none_lost_none_doubled() {
    let octoworld = start(2);
    let Octoworld { world, fake, .. } = &octoworld;
    let count = if std::env::var_os("FIREACTIONS_LONG").is_some() { 50 } else { 15 };
    // The job's workspace, as its runner made it.
    let on_disk =
        r#"pwd | grep ^/home/runner/_work/ && grep -q " /home/runner/_work ext4 " /proc/mounts || exit 1"#;
    // Whose job the runner of a set has, GitHub says; nobody else's finds the host's cache.
    let preloaded =
        r#"[ -r "${NODE_OPTIONS#--require }" ]; export ACTIONS_CACHE_URL=$FIREACTIONS_ACTIONS_CACHE"#;
    let save = format!("set -e; {preloaded}\n{}", actions_cache::SAVE);
    let none = r#"[ -z "$NODE_OPTIONS$FIREACTIONS_ACTIONS_CACHE" ]"#.to_owned();
    let jobs: Vec<JobId> = (0..count)
        .map(|n| {
            let (labels, cache): (&[&str], &str) = match n % 3 {
                0 => (&["fast"], if n == 0 { &save } else { "" }),
                1 => (&["self-hosted", "Debian"], &none),
                _ => (&["debian", "GPU"], &none),
            };
            let script = format!("{on_disk}\n{cache}\necho ran {n} as $RUNNER_NAME");
            fake.queue_job(request(n, labels, &script))
        })
        .collect();
    // While they wait, they are shown with what is known of them.
    let waiting = world.wait(BOOT, "a waiting job to be listed", || {
        let listed = world.json(&["jobs", "list", "--state", "queued"]);
        listed.as_array().unwrap().iter().find(|job| job["remote"]["repository"] == "acme/widgets").cloned()
    });
    // A message of a scale set names the workflow's file, a webhook its name.
    assert!(waiting["remote"]["workflow"].is_string(), "{waiting}");
    let done = octoworld.completed(&jobs, Duration::from_secs(900));
    octoworld.all_well(&done);
    for (n, job) in done.iter().enumerate() {
        assert!(job.log.contains(&format!("ran {n} as ")), "{job:#?}");
    }
    let cached = world.json(&["cache", "list"]);
    assert!(cached[0]["repository"].as_str().unwrap().starts_with("github/acme/widgets#"), "{cached}");
    let branch = |name: &str| {
        let find = format!("{preloaded}\n{}\ncat /tmp/found", actions_cache::FIND);
        let workflow = format!("ci.yml@refs/heads/{name}");
        fake.queue_job(request(count, &["fast"], &find).caused("push", name, &workflow))
    };
    let found = octoworld.completed(&[branch("topic")], BOOT);
    octoworld.all_well(&found);
    let place = (&cached[0]["key"], &cached[0]["scope"]);
    assert_eq!(place, (&"deps".into(), &"refs/heads/main".into()), "{cached}\n{}", world.log());
    assert!(found[0].log.contains("http://172.30.0.1:"), "{}\n{}", found[0].log, world.log());
    world.wait(BOOT, "all rows to be final", || {
        world.json(&["jobs", "list", "--active"]).as_array().unwrap().is_empty().then_some(())
    });
    let listed = text(&world.cli(&["jobs", "list"]).stdout);
    assert!(
        listed.contains("acme/widgets: ") && listed.contains("success") && listed.contains("/actions/runs/"),
        "{listed}"
    );
    world.wait(BOOT, "GitHub to have no runner left", || fake.runners().is_empty().then_some(()));
    octoworld.world.finish();
}

/// The address that the world can reach: what is signed is taken, once; what is not is refused, whatever its size.
#[test]
fn the_webhooks_door_takes_what_is_signed_and_nothing_else() {
    let octoworld = start(1);
    let (world, fake) = (&octoworld.world, &octoworld.fake);
    for pool in ["fast", "small", "large"] {
        assert!(world.cli(&["pools", "pause", pool]).status.success());
    }
    let deliver = |how: Delivery| {
        let before = fake.delivered().len();
        fake.deliver_next(1, how);
        fake.queue_job(request(before, &["debian"], "true"));
        fake.wait_delivered(BOOT);
        fake.delivered().split_off(before).into_iter().map(|one| one.answer).collect::<Vec<_>>()
    };
    assert_eq!(deliver(Delivery::Normal), [Ok(202)]);
    assert_eq!(deliver(Delivery::WrongSignature), [Ok(401)]);
    assert_eq!(deliver(Delivery::Unsigned), [Ok(401)]);
    assert_eq!(deliver(Delivery::Duplicated), [Ok(202), Ok(202)]);
    // It is not read to its end, so the sender may find the connection closed before it finds the answer.
    let huge = deliver(Delivery::Huge(30 << 20));
    assert!(matches!(huge.as_slice(), [Ok(413) | Err(_)]), "{huge:?}");
    assert_eq!(deliver(Delivery::Normal), [Ok(202)]);
    let counted = |result: &str| {
        world.metric(&format!(
            "fireactions_forge_webhook_deliveries_total{{forge=\"github\",result=\"{result}\"}} "
        ))
    };
    assert_eq!(
        [counted("taken"), counted("forged"), counted("repeated")],
        ["3", "2", "1"].map(str::to_owned)
    );
    assert_ne!(world.metric("fireactions_forge_requests_total{forge=\"github\"} "), "0");
    // The job waits for the smallest pool that has its labels, paused or not.
    let age = |pool: &str| world.metric(&format!("fireactions_pool_queue_age_seconds{{pool=\"{pool}\"}} "));
    assert!(age("small").parse::<f64>().unwrap() > 0.0);
    assert_eq!(age("fast"), "0.0");
    octoworld.world.finish();
}

/// GitHub's name does not resolve for a while, and what was connected breaks.
#[test]
fn a_while_without_names_costs_time_and_no_job() {
    if on_firecracker() {
        println!("not run on this driver as well: no VMM has a part in it");
        return;
    }
    let names = "echo 127.0.0.1 localhost >$DIR/hosts; mount --bind $DIR/hosts /etc/hosts
                 : >$DIR/resolv.conf; mount --bind $DIR/resolv.conf /etc/resolv.conf";
    let octoworld = start_at("localhost", 1, names);
    let (world, fake) = (&octoworld.world, &octoworld.fake);
    let labels = ["fast", "debian"];
    let queue =
        |n: usize| fake.queue_job(request(n, &[labels[n % 2]], &format!("echo ran {n} as $RUNNER_NAME")));
    let mut jobs = vec![queue(0), queue(1)];
    octoworld.completed(&jobs, BOOT);
    let hosts = world.path("hosts");
    let known = fs::read_to_string(&hosts).unwrap();
    // In place: a file beside it would not be the one that is mounted.
    fs::write(&hosts, "").unwrap();
    fake.down(Duration::from_secs(1));
    let before = fake.calls().total;
    jobs.extend([queue(2), queue(3)]);
    for pool in ["fast", "small"] {
        world.wait(BOOT, "the pool to say that GitHub is out of reach", || {
            text(&world.cli(&["pools", "show", pool]).stdout)
                .contains("GitHub cannot be reached")
                .then_some(())
        });
    }
    assert!(fake.calls().total - before < 10, "nothing gets there: {:?}", fake.calls());
    fs::write(&hosts, known).unwrap();
    let done = octoworld.completed(&jobs, BOOT);
    octoworld.all_well(&done);
    octoworld.world.finish();
}

/// The App's key, its tokens, the webhook's secret and the runner's credential: where others can read there is none.
#[test]
fn no_credential_is_in_a_log_an_argument_or_a_file_that_others_can_read() {
    let octoworld = start(1);
    let (world, fake) = (&octoworld.world, &octoworld.fake);
    let job = fake.queue_job(request(1, &["debian"], "sleep 5"));
    world.wait(BOOT, "the job to run", || (fake.job(job).status == JobStatus::InProgress).then_some(()));
    let seen = || {
        let mut all = vec![("server.log".to_owned(), fs::read(world.path("server.log")).unwrap())];
        for (pid, _) in world.all_processes() {
            for part in ["cmdline", "environ"] {
                let path = format!("/proc/{pid}/{part}");
                all.extend(fs::read(&path).ok().map(|bytes| (path, bytes)));
            }
        }
        readable(&world.path("state"), &mut all);
        all
    };
    let mut all = seen();
    let places: Vec<&str> = all.iter().map(|(place, _)| place.as_str()).collect();
    assert!(
        places.iter().filter(|place| place.ends_with("/cmdline")).count() >= 2,
        "server and VMM: {places:?}"
    );
    let done = octoworld.completed(&[job], BOOT);
    octoworld.all_well(&done);
    all.extend(seen());

    let key = fs::read_to_string(octoworld.files.path().join("key.pem")).unwrap();
    // An installation's token begins with ghs_; the App's web token and a runner's credential are `{"…` in base64.
    for secret in [SECRET, key.lines().nth(2).unwrap(), "ghs_", "eyJ"] {
        for (place, bytes) in &all {
            let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{place} has {secret}");
        }
    }
    octoworld.world.finish();
}

/// Files that not only their owner can read, but for images and boot files: they are made without any credential, and what is
/// packed in them may look like the beginning of one.
fn readable(dir: &Path, all: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let (Ok(of), path) = (entry.metadata(), entry.path()) else { continue };
        if of.is_dir() && !["images", "boot"].iter().any(|packed| entry.file_name() == *packed) {
            readable(&path, all);
        } else if of.is_file() && of.permissions().mode() & 0o077 != 0 {
            all.extend(fs::read(&path).ok().map(|bytes| (path.display().to_string(), bytes)));
        }
    }
}

/// What each clone's VMM tells its guest is its own. Images of other systems find their credential there.
#[test]
fn each_clone_finds_its_own_credential_in_the_metadata() {
    if !on_firecracker() {
        println!("not run on this driver: it has no metadata service");
        return;
    }
    let octoworld = start(2);
    let (world, fake) = (&octoworld.world, &octoworld.fake);
    let jobs = [1, 2].map(|n| fake.queue_job(request(n, &["debian"], "sleep 20")));
    let machines = world.wait(BOOT, "two clones with a job", || {
        let mut machines = world.machines();
        machines.retain(|machine| machine["state"] == "busy" && machine["started"] == "snapshot");
        let run = |job: &JobId| fake.job(*job).status == JobStatus::InProgress;
        (machines.len() == 2 && jobs.iter().all(run)).then_some(machines)
    });
    let credentials: BTreeSet<String> = machines
        .iter()
        .map(|machine| {
            let id = machine["id"].as_str().unwrap();
            let told = metadata(world, id)["latest"]["meta-data"]["fireactions"].clone();
            assert_eq!(
                (told["runner_id"].as_str(), told["hostname"].as_str()),
                (Some(id), Some(id)),
                "{told}"
            );
            told["runner_jit_config"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(credentials.len(), 2, "no two clones have the same");
    // As the guests themselves see it: by a token of their own, and of nobody else.
    let ask = |machine: &serde_json::Value, script: &str| {
        let output = world.exec(machine["job"].as_str().unwrap(), &format!("{ASK}{script}"));
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let told: Vec<(String, String)> = machines
        .iter()
        .map(|machine| {
            let told = ask(
                machine,
                "get /latest/meta-data/fireactions/runner_id; echo \"$(first)\"; renew; echo $token
                 get / 'Accept: application/json\\r\\n'; echo \"$(last)\"",
            );
            let lines: Vec<&str> = told.lines().collect();
            assert_eq!(lines[0], "HTTP/1.1 401", "without a token: {told}");
            let tree: serde_json::Value = serde_json::from_str(lines[2]).unwrap();
            assert_eq!(tree["latest"]["meta-data"]["fireactions"]["runner_id"], machine["id"], "{told}");
            (lines[1].to_owned(), lines[2].to_owned())
        })
        .collect();
    for (index, machine) in machines.iter().enumerate() {
        let (token, tree) = &told[1 - index];
        assert!(!tree.contains(machine["id"].as_str().unwrap()), "{tree}");
        let own = &told[index].1;
        assert_eq!(credentials.iter().filter(|credential| own.contains(credential.as_str())).count(), 1);
        let others = format!("token={token}; get /latest/meta-data; echo \"$(first)\"");
        assert_eq!(ask(machine, &others), "HTTP/1.1 401\n", "the other's token");
    }
    let done = octoworld.completed(&jobs, BOOT);
    octoworld.all_well(&done);
    octoworld.world.finish();
}

/// What a shell with BusyBox needs to ask the metadata service, which keeps connections: so `nc` waits for more, for as long as a slow
/// guest takes for an answer.
const ASK: &str = r#"
    ask() { said=; until [ -n "$said" ]; do said=$(printf "$1 HTTP/1.1\r\n$2\r\n" | nc -w 3 169.254.169.254 80); done; }
    last() { printf '%s' "$said" | sed -e '1,/^\r$/d'; }
    first() { printf '%s' "$said" | head -n 1 | tr -d '\r' | sed 's/ $//'; }
    renew() { ask 'PUT /latest/api/token' 'X-metadata-token-ttl-seconds: 60\r\n'; token=$(last); }
    get() { ask "GET $1" "X-metadata-token: $token\r\n$2"; }
"#;

/// The whole tree of the metadata service, which the server itself never reads.
#[derive(serde::Serialize)]
struct GetMmds;

impl Request for GetMmds {
    type Answer = serde_json::Value;
    const METHOD: Method = Method::Get;
    fn path(&self) -> String {
        "/mmds".into()
    }
}

/// What a machine's Firecracker has for its guest, by its API.
fn metadata(world: &World, machine: &str) -> serde_json::Value {
    // The jailer names the directory like the program.
    let jails = fs::read_dir(world.path("state/run").join(machine)).unwrap();
    let mut sockets = jails.map(|jail| jail.unwrap().path().join(machine).join("root/api.sock"));
    let socket = sockets.find(|path| path.exists()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let api = Client::ready(socket, Duration::from_secs(10)).await.unwrap();
        api.send(&GetMmds).await.unwrap()
    })
}

/// While GitHub takes its time to answer a registration, its pool is paused, which asks the machine again and again whether it
/// can go.
#[test]
fn a_registration_that_takes_long_is_made_once_whatever_the_pool_wants_meanwhile() {
    if on_firecracker() {
        println!("not run on this driver as well: no VMM has a part in it");
        return;
    }
    let octoworld = start(1);
    let (world, fake) = (&octoworld.world, &octoworld.fake);
    fake.fault(
        Fault::on("POST", "/orgs/acme/actions/runners/generate-jitconfig").latency(Duration::from_secs(10)),
    );
    let asked = || {
        let route = "POST /orgs/{org}/actions/runners/generate-jitconfig";
        fake.calls().by_route.get(route).copied().unwrap_or(0)
    };
    let job = fake.queue_job(request(1, &["debian"], "true"));
    world.wait(BOOT, "the registration", || (asked() > 0).then_some(()));
    assert!(world.cli(&["pools", "pause", "small"]).status.success());
    let done = octoworld.completed(&[job], BOOT);
    octoworld.all_well(&done);
    assert_eq!(asked(), 1, "{}", world.log());
    octoworld.world.finish();
}

/// Between the machine's row, the registration at GitHub, the credential on the disk and its delivery.
#[cfg(feature = "failpoints")]
#[test]
fn a_server_that_is_killed_around_a_registration_loses_no_job_and_no_runner() {
    for point in [
        "store::runner-before-commit",
        "store::runner-after-commit",
        "store::credential-before-commit",
        "store::credential-after-commit",
    ] {
        println!("killed at {point}");
        let mut octoworld = start(1);
        let world = &mut octoworld.world;
        world.signal_server(nix::sys::signal::Signal::SIGKILL);
        world.server_ended(Duration::from_secs(10));
        world.boot_until(point);
        let jobs = [octoworld.fake.queue_job(request(1, &["debian"], "true"))];
        world.server_died(point);
        world.boot();
        let done = octoworld.completed(&jobs, BOOT * 2);
        octoworld.all_well(&done);
        let (world, fake) = (&octoworld.world, &octoworld.fake);
        world.wait(BOOT, "GitHub to have no runner left", || fake.runners().is_empty().then_some(()));
        octoworld.world.finish();
    }
}

#[test]
fn runners_that_end_before_a_job_came_are_not_made_again_and_again() {
    let octoworld = start_with("127.0.0.1", 2, "", true);
    let Octoworld { world, fake, .. } = &octoworld;
    fake.queue_job(request(0, &["self-hosted", "debian"], "true"));
    let failures = || world.json(&["pools", "show", "small"])["backoff"]["failures"].as_u64().unwrap_or(0);
    world.wait(BOOT, "three runners to end", || (failures() >= 3).then_some(()));
    // Waits of 1, 2 and 4 seconds lie between the first four.
    let rows = world.json(&["jobs", "list"]).as_array().unwrap().clone();
    let runners = rows.iter().filter(|job| job["state"] != "queued").count() as u64;
    assert!(runners <= failures() + 1, "{runners} runners, {} failures", failures());
    let pool = world.json(&["pools", "show", "small"]);
    let reason = pool["backoff"]["reason"].as_str().unwrap();
    assert!(
        reason.contains("exit code 127 before it got a job") && reason.contains("no GitHub runner"),
        "{reason}"
    );
    let waiting = world.wait(BOOT, "the job to say so", || {
        let queued = world.json(&["jobs", "list", "--state", "queued"]);
        let job = queued.as_array().unwrap().first()?.clone();
        (job["waiting"]["kind"] == "backing_off").then_some(job["waiting"].clone())
    });
    assert!(waiting["error"].as_str().unwrap().contains("exit code 127"), "{waiting}");
    octoworld.world.finish();
}
