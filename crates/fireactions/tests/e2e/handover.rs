//! `server --replace`: another server takes over, and nobody notices.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
#[cfg(feature = "failpoints")]
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fireactions_api::{Client, ScaleRequest, Target};
use fireactions_model::PoolName;

use crate::world::{BOOT, Setup, World, attempts, pool, text};

/// A handover takes a second or two; a busy host takes its time.
const HANDOVER: Duration = Duration::from_secs(60);

/// Prints a numbered line again and again, until it is told to end with 7.
const LINES: &str = "i=0; while [ ! -e /tmp/told ]; do echo line $i; i=$((i+1)); sleep 0.05; done; exit 7";

fn numbered(lines: std::ops::Range<usize>) -> String {
    lines.fold(String::new(), |text, n| text + &format!("line {n}\n"))
}

impl World {
    /// Starts a server that takes over; gives it once the one before has ended as it should.
    pub(crate) fn replace(&mut self) {
        let before = self.server_pid();
        let mut command = self.server_command("config.yaml", &[]);
        let server = command.arg("--replace").spawn().unwrap();
        let old = self.serves_now(server).unwrap();
        ended_well(old, self);
        assert_ne!(self.server_pid(), before);
        assert_eq!(self.answering(), self.server_pid(), "{}", self.log());
    }

    /// The process that answers. One that takes back has begun to serve before it does.
    fn answering(&self) -> i32 {
        let pid =
            self.wait(HANDOVER, "a server to answer", || self.json(&["version"])["server"]["pid"].as_i64());
        i32::try_from(pid).unwrap()
    }

    /// Machines by name and process.
    fn who(&self) -> Vec<(String, i64)> {
        let machines = self.machines().into_iter();
        let named = machines.map(|m| (m["id"].as_str().unwrap().to_owned(), m["pid"].as_i64().unwrap_or(0)));
        let mut named: Vec<_> = named.collect();
        named.sort();
        named
    }
}

fn ended_well(mut server: Child, world: &World) {
    let deadline = Instant::now() + HANDOVER;
    let status = loop {
        if let Some(status) = server.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "the old server did not go\n{}", world.log());
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "{status:?}\n{}", world.log());
}

/// Asks again and again, every 10 ms, in one of several ways, until told to end.
struct Poller {
    done: Arc<AtomicBool>,
    asked: Arc<AtomicU32>,
    thread: JoinHandle<Polled>,
}

struct Polled {
    longest: Duration,
    errors: Vec<String>,
}

impl Poller {
    fn start(mut ask: impl FnMut() -> Result<(), String> + Send + 'static) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicU32::new(0));
        let (until, count) = (Arc::clone(&done), Arc::clone(&asked));
        let thread = std::thread::spawn(move || {
            let mut polled = Polled { longest: Duration::ZERO, errors: Vec::new() };
            while !until.load(Ordering::SeqCst) {
                let begun = Instant::now();
                if let Err(error) = ask() {
                    polled.errors.push(error);
                }
                polled.longest = polled.longest.max(begun.elapsed());
                count.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(10));
            }
            polled
        });
        Self { done, asked, thread }
    }

    /// By a connection of its own each time.
    fn plain(world: &World) -> Self {
        let socket = world.path("api.sock");
        Self::start(move || {
            let mut stream = UnixStream::connect(&socket).map_err(|e| format!("connect: {e}"))?;
            let request = "GET /api/v1/machines HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            stream.write_all(request.as_bytes()).map_err(|e| format!("write: {e}"))?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).map_err(|e| format!("read: {e}"))?;
            if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(format!("answer: {answer:?}")) }
        })
    }

    /// By kept connections, looking or changing something.
    fn client(world: &World, change: bool) -> Self {
        let client = Client::new(Target::Socket(world.path("api.sock")), None).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let pool = PoolName::new("default").unwrap();
        Self::start(move || {
            runtime.block_on(async {
                let answer = if change {
                    let to = ScaleRequest { min: Some(1), max: Some(3) };
                    client.scale_pool(&pool, to).await.map(drop)
                } else {
                    client.machines().await.map(drop)
                };
                answer.map_err(|error| error.to_string())
            })
        })
    }

    fn end(self, what: &str) {
        self.done.store(true, Ordering::SeqCst);
        let polled = self.thread.join().unwrap();
        println!("{what}: asked {:?} times, longest {:?}", self.asked, polled.longest);
        assert_eq!(polled.errors, Vec::<String>::new(), "{what}, of {:?}", self.asked);
    }
}

/// Waits until each has asked and been answered by the server that serves now.
fn wait_answered(pollers: &[Poller], world: &World) {
    for poller in pollers {
        // The question that is on its way may have been another server's.
        let enough = poller.asked.load(Ordering::SeqCst) + 2;
        world.wait(HANDOVER, "an answer", || (poller.asked.load(Ordering::SeqCst) >= enough).then_some(()));
    }
}

#[test]
fn a_new_server_takes_over_twice_and_nobody_notices() {
    let mut world = World::start(Setup { pools: pool("default", 1, 3, ""), ..Setup::default() });
    let job = world.submit(&[], LINES);
    world.wait_log(&job, "line 3\n", BOOT);
    world.wait_ready("default", 1);
    let output = world.path("followed");
    let mut follower = world.command();
    let mut follower = follower
        .args(["jobs", "logs", "-f", &job])
        .stdout(fs::File::create(&output).unwrap())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let pollers = [Poller::plain(&world), Poller::client(&world, false), Poller::client(&world, true)];
    let before = world.who();
    assert_eq!(before.len(), 2, "{before:?}");
    let mut session = world.command();
    let session = session.args(["exec", &job, "--", "sh", "-c", "echo here; sleep 600"]);
    let mut session = session.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut here = [0; 5];
    session.stdout.as_mut().unwrap().read_exact(&mut here).unwrap();

    for _ in 0..2 {
        wait_answered(&pollers, &world);
        world.replace();
        wait_answered(&pollers, &world);
        assert_eq!(world.who(), before, "machines go on as they are\n{}", world.log());
        let seen = fs::read_to_string(&output).unwrap().lines().count();
        world.wait(BOOT, "the follower to go on", || {
            (fs::read_to_string(&output).unwrap().lines().count() > seen + 5).then_some(())
        });
    }

    let session = session.wait_with_output().unwrap();
    assert!(!session.status.success() && text(&session.stderr).contains("replaced"), "{session:?}");
    for (poller, what) in pollers.into_iter().zip(["new connections", "a kept connection", "changes"]) {
        poller.end(what);
    }
    let idle =
        world.machines().into_iter().find(|machine| machine["state"] == "ready").expect("a warm machine");
    let next = world.submit(&[], "echo next");
    let next = world.wait_job(&next, &["succeeded"], BOOT);
    assert_eq!((&next["machine"], &next["attempt"]), (&idle["id"], &1.into()), "{next}");

    world.tell(&job);
    let ended = world.wait_job(&job, &["failed"], BOOT);
    assert_eq!((&ended["outcome"]["code"], attempts(&ended)), (&7.into(), 1), "{ended}");
    assert!(follower.wait().unwrap().success(), "the log came to its end");
    let whole = text(&world.cli(&["jobs", "logs", &job]).stdout);
    assert_eq!(whole, numbered(0..whole.lines().count()), "every line once");
    assert_eq!(fs::read_to_string(&output).unwrap(), whole, "the follower has seen every line once");
    world.finish();
}

#[test]
fn a_new_server_that_fails_early_leaves_the_old_one_alone() {
    let pools = pool("default", 1, 1, "");
    let world = World::start(Setup { pools, standin: true, ..Setup::default() });
    world.wait_ready("default", 1);
    let before = world.who();

    let config = fs::read_to_string(world.path("config.yaml")).unwrap();
    let spoiled = config.replace("kernel: {image: ", "kernel: {image: /nonexistent");
    assert_ne!(config, spoiled);
    fs::write(world.path("spoiled.yaml"), spoiled).unwrap();
    let new =
        world.server_command("spoiled.yaml", &[]).arg("--replace").stderr(Stdio::piped()).output().unwrap();
    assert!(!new.status.success());
    assert!(text(&new.stderr).contains("/nonexistent"), "{}", text(&new.stderr));

    // Peers that speak otherwise, or of another state.
    let ask = |question: &str| {
        let mut stream = UnixStream::connect(world.path("state/handover.sock")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        writeln!(stream, "{question}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let newer = ask(r#"{"say":"ask","protocol":99,"version":"9.9.9","more":[1]}"#);
    assert!(newer.contains("refused") && newer.contains("uses handover protocol 99"), "{newer}");
    let other = ask(r#"{"say":"ask","protocol":1,"version":"0.1.0","state":{"device":1,"inode":2}}"#);
    assert!(other.contains("refused") && other.contains("state directory"), "{other}");
    assert_eq!(ask("nonsense"), "");

    assert_eq!(world.answering(), world.server_pid());
    assert_eq!(world.who(), before);
    let job = world.submit(&[], "echo still here");
    let job = world.wait_job(&job, &["succeeded"], BOOT);
    assert_eq!(job["machine"].as_str().unwrap(), before[0].0);
    world.finish();
}

#[cfg(feature = "failpoints")]
#[test]
fn the_old_server_takes_back_what_a_dead_one_left() {
    let mut world = World::start(Setup { pools: pool("default", 1, 3, ""), ..Setup::default() });
    let job = world.submit(&[], LINES);
    world.wait_log(&job, "line 3\n", BOOT);
    world.wait_ready("default", 1);
    let before = world.who();
    let pollers = [Poller::plain(&world), Poller::client(&world, true)];

    // Before it has looked at a machine, and when it has them all.
    for point in ["machine::recover-rules", "machine::recover-undone"] {
        let mut new = world.server_command("config.yaml", &[("FIREACTIONS_KILL_AT", point)]);
        let status = new.arg("--replace").status().unwrap();
        assert!(!status.success(), "{status:?}");
        assert_eq!(world.answering(), world.server_pid(), "the old one is back\n{}", world.log());
        assert!(world.log().contains("the old one continues"), "{}", world.log());
        assert_eq!(world.who(), before);
        wait_answered(&pollers, &world);
    }
    // And a new one that lives still gets it.
    world.replace();
    assert_eq!(world.who(), before);
    for poller in pollers {
        poller.end("over dead servers");
    }
    world.tell(&job);
    let ended = world.wait_job(&job, &["failed"], BOOT);
    assert_eq!((&ended["outcome"]["code"], attempts(&ended)), (&7.into(), 1), "{ended}");
    let whole = text(&world.cli(&["jobs", "logs", &job]).stdout);
    assert_eq!(whole, numbered(0..whole.lines().count()), "every line once");
    world.finish();
}

/// A server with a played machine that has a job, which ends when it is told to, and one that waits.
#[cfg(feature = "failpoints")]
fn played() -> (World, String) {
    let pools = pool("default", 1, 2, "");
    let world = World::start(Setup { pools, standin: true, ..Setup::default() });
    let job = world.submit(&[], "echo begun; wait; echo told");
    world.wait_log(&job, "begun", BOOT);
    world.wait_ready("default", 1);
    (world, job)
}

#[cfg(feature = "failpoints")]
#[test]
fn whichever_server_is_killed_between_two_steps_the_other_serves() {
    let (mut world, job) = played();
    let before = world.who();

    for point in ["handover::taken", "handover::serving"] {
        let mut new = world.server_command("config.yaml", &[("FIREACTIONS_KILL_AT", point)]);
        let status = new.arg("--replace").status().unwrap();
        assert_eq!(status.signal(), Some(9), "{point}\n{}", world.log());
        assert_eq!((world.answering(), world.who()), (world.server_pid(), before.clone()), "{point}");
    }
    for point in ["handover::asked", "handover::let-go", "handover::served"] {
        // A server that will be killed, and the one that takes over from it.
        let mut doomed = world.server_command("config.yaml", &[("FIREACTIONS_KILL_AT", point)]);
        let doomed = doomed.arg("--replace").spawn().unwrap();
        ended_well(world.serves_now(doomed).unwrap(), &world);
        let mut new = world.server_command("config.yaml", &[]);
        let new = new.arg("--replace").spawn().unwrap();
        let status = world.serves_now(new).unwrap().wait().unwrap();
        assert_eq!(status.signal(), Some(9), "{point}\n{}", world.log());
        world.wait(HANDOVER, "the new server", || {
            world.cli(&["pools", "list"]).status.success().then_some(())
        });
        assert_eq!((world.answering(), world.who()), (world.server_pid(), before.clone()), "{point}");
    }
    assert!(world.cli(&["exec", &job, "--", "tell"]).status.success());
    assert_eq!(attempts(&world.wait_job(&job, &["succeeded"], BOOT)), 1);
    assert_eq!(text(&world.cli(&["jobs", "logs", &job]).stdout), "begun\ntold\n");
    world.finish();
}

/// Two minutes are all that a new server gets. (They pass beside other tests: nothing here needs a processor.)
#[cfg(feature = "failpoints")]
#[test]
fn a_new_server_that_hangs_is_ended_after_two_minutes_and_the_old_one_takes_back() {
    let pools = pool("default", 1, 2, "");
    let world = World::start(Setup { pools, standin: true, ..Setup::default() });
    world.wait_ready("default", 1);
    let before = world.who();
    let job = world.submit(&["--memory", "300"], "echo begun; wait");
    world.wait_log(&job, "begun", BOOT);
    let mut new = world.server_command("config.yaml", &[("FIREACTIONS_STOP_AT", "handover::taken")]);
    let begun = Instant::now();
    let status = new.arg("--replace").status().unwrap();
    assert_eq!(status.signal(), Some(9), "it must not wake up and serve beside the old one");
    assert!(begun.elapsed() >= Duration::from_secs(120), "it was given {:?} only", begun.elapsed());
    assert_eq!(world.answering(), world.server_pid());
    assert!(world.log().contains("it was not ready within 120s"), "{}", world.log());
    assert!(before.iter().all(|machine| world.who().contains(machine)), "{before:?}: {:?}", world.who());
    assert!(world.cli(&["exec", &job, "--", "tell"]).status.success());
    world.wait_job(&job, &["succeeded"], BOOT);
    world.finish();
}

/// A newer version's words, with fields that this one does not know.
#[test]
fn a_server_of_another_version_takes_over() {
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::fs::MetadataExt as _;

    let pools = pool("default", 1, 1, "");
    let mut world = World::start(Setup { pools, standin: true, ..Setup::default() });
    world.wait_ready("default", 1);
    let before = world.who();
    let stream = UnixStream::connect(world.path("state/handover.sock")).unwrap();
    stream.set_read_timeout(Some(HANDOVER)).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    let mut say = |line: &str| {
        writeln!(&stream, "{line}").unwrap();
        let mut answer = String::new();
        lines.read_line(&mut answer).unwrap();
        answer
    };
    let state = fs::metadata(world.path("state")).unwrap();
    let state = format!("{{\"device\":{},\"inode\":{}}}", state.dev(), state.ino());
    let offer = say(&format!(
        "{{\"say\":\"ask\",\"protocol\":1,\"version\":\"9.9.9\",\"state\":{state},\"more\":[1]}}"
    ));
    assert!(offer.contains("offer") && offer.contains(env!("CARGO_PKG_VERSION")), "{offer}");
    let given = say(r#"{"say":"take","more":{}}"#);
    assert!(given.contains("given"), "{given}");
    say(r#"{"say":"ready","more":null}"#);
    drop(stream);
    assert!(world.server_ended(HANDOVER).success(), "{}", world.log());
    assert!(world.log().contains("9.9.9"), "{}", world.log());
    world.boot();
    assert_eq!(world.who(), before);
    world.finish();
}

/// A new server that stands still between the old one's letting go of the state and its own opening of it.
#[cfg(feature = "failpoints")]
fn halfway(world: &World) -> Child {
    let mut new = world.server_command("config.yaml", &[("FIREACTIONS_STOP_AT", "handover::taken")]);
    let new = new.arg("--replace").spawn().unwrap();
    let stat = format!("/proc/{}/stat", new.id());
    world.wait(HANDOVER, "the new server to stand still", || {
        fs::read_to_string(&stat).unwrap().contains(") T ").then_some(())
    });
    new
}

/// What servers of other versions make of the state is made here while none has it open.
#[cfg(feature = "failpoints")]
#[test]
fn a_handover_between_schemas_keeps_every_job_and_machine() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    let (mut world, job) = played();
    let before = world.who();
    let database = world.path("state/state.db");
    let state = |sql: &str| rusqlite::Connection::open(&database).unwrap().execute_batch(sql).unwrap();
    let version = || -> i64 {
        let db = rusqlite::Connection::open(&database).unwrap();
        db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    };
    let known = version();
    assert_eq!(known, 4, "what the newest schema added is taken away below");

    // The old server's schema is one older.
    let new = halfway(&world);
    state("ALTER TABLE machines DROP COLUMN hold_secs; PRAGMA user_version = 3;");
    kill(Pid::from_raw(new.id().cast_signed()), Signal::SIGCONT).unwrap();
    ended_well(world.serves_now(new).unwrap(), &world);
    assert_eq!((world.answering(), world.who()), (world.server_pid(), before.clone()), "{}", world.log());
    assert_eq!(version(), known);

    // The new server's is newer, and it dies once the state has it: the old one cannot go on, and leaves all as it is.
    let mut new = halfway(&world);
    state("PRAGMA user_version = 99");
    new.kill().unwrap();
    new.wait().unwrap();
    let status = world.server_ended(HANDOVER);
    assert!(!status.success(), "{status:?}\n{}", world.log());
    let log = world.log();
    assert!(log.contains("schema version 99") && log.contains("run the newer fireactions again"), "{log}");
    for (machine, pid) in &before {
        assert!(fs::exists(format!("/proc/{pid}/root")).unwrap(), "the VMM of {machine} is gone\n{log}");
    }
    // The newer one again.
    state(&format!("PRAGMA user_version = {known}"));
    world.boot();
    assert_eq!(world.who(), before);
    assert!(world.cli(&["exec", &job, "--", "tell"]).status.success());
    assert_eq!(attempts(&world.wait_job(&job, &["succeeded"], BOOT)), 1);
    assert_eq!(text(&world.cli(&["jobs", "logs", &job]).stdout), "begun\ntold\n");
    world.finish();
}

#[cfg(feature = "failpoints")]
#[test]
fn a_stop_ends_a_handover_that_hangs() {
    let pools = pool("default", 1, 1, "");
    let mut world = World::start(Setup { pools, standin: true, ..Setup::default() });
    world.wait_ready("default", 1);
    let mut new = halfway(&world);
    world.signal_server(nix::sys::signal::Signal::SIGTERM);
    let status = world.server_ended(HANDOVER);
    assert!(status.success(), "{status:?}\n{}", world.log());
    assert_eq!(new.wait().unwrap().signal(), Some(9), "it must not serve beside the old one, nor after it");
    world.assert_nothing_left();
}

#[test]
fn a_new_server_that_fails_late_says_why_and_the_old_one_takes_back() {
    let pools = pool("default", 1, 1, "");
    let mut world = World::start(Setup { pools, standin: true, ..Setup::default() });
    world.wait_ready("default", 1);
    let before = world.who();
    let pollers = [Poller::plain(&world)];
    wait_answered(&pollers, &world);
    let config = fs::read_to_string(world.path("config.yaml")).unwrap();
    // The socket's group is changed when the socket has been handed over.
    fs::write(world.path("group.yaml"), format!("api_socket_group: no-such-group-here\n{config}")).unwrap();
    let mut new = world.server_command("group.yaml", &[]);
    let new = new.arg("--replace").stderr(Stdio::piped()).output().unwrap();
    assert!(text(&new.stderr).contains("no-such-group-here"), "{}", text(&new.stderr));
    assert!(new.status.code().is_some_and(|code| code != 0), "it was not killed: {:?}", new.status);
    assert_eq!(world.answering(), world.server_pid());
    assert_eq!(world.who(), before);
    wait_answered(&pollers, &world);
    let [poller] = pollers;
    poller.end("over a failure");
    world.replace();
    world.finish();
}

#[test]
fn addresses_that_changed_are_bound_and_old_ones_closed() {
    let more = "bind_address: 127.0.0.1:8080\nmetrics: {enabled: true, address: 127.0.0.1:8081}\n\
                actions_cache: {enabled: true, port: 5080, keep_free_mib: 0}"
        .to_owned();
    let mut world =
        World::start(Setup { pools: pool("default", 0, 1, ""), more, standin: true, ..Setup::default() });
    let reaches = |world: &World, address: &str, path: &str| {
        let url = format!("http://{address}{path}");
        world.in_namespace(&["curl", "--silent", "--fail", "--max-time", "10", &url]).status.success()
    };
    assert!(
        reaches(&world, "127.0.0.1:8080", "/api/v1/pools") && reaches(&world, "127.0.0.1:8081", "/metrics")
    );
    // Nobody is known there, and is told so.
    let caches = |world: &World, port: u16| {
        let url = format!("http://172.30.0.1:{port}/token/_apis/artifactcache/cache?keys=k&version=v");
        let asked = world.in_namespace(&["curl", "--silent", "--max-time", "10", &url]);
        text(&asked.stdout).contains("does not know this caller")
    };
    let config = fs::read_to_string(world.path("config.yaml")).unwrap();

    // An address that is taken is told, and nothing has happened.
    let taken = world.namespace.listen(std::net::SocketAddr::from(([127, 0, 0, 1], 8089)));
    fs::write(world.path("taken.yaml"), config.replace(":8080", ":8089")).unwrap();
    let new =
        world.server_command("taken.yaml", &[]).arg("--replace").stderr(Stdio::piped()).output().unwrap();
    assert!(!new.status.success() && text(&new.stderr).contains("8089"), "{}", text(&new.stderr));
    assert_eq!(world.answering(), world.server_pid());
    drop(taken);

    let changed = config
        .replace(":8080", ":8082")
        .replace("metrics: {enabled: true", "metrics: {enabled: false")
        .replace("port: 5080", "port: 5081")
        .replace("api.sock", "api2.sock");
    assert!(caches(&world, 5080) && !caches(&world, 5081));
    fs::write(world.path("config.yaml"), changed).unwrap();
    let server = world.server_command("config.yaml", &[]).arg("--replace").spawn().unwrap();
    ended_well(world.serves_now(server).unwrap(), &world);
    assert!(reaches(&world, "127.0.0.1:8082", "/api/v1/pools"), "{}", world.log());
    assert!(caches(&world, 5081) && !caches(&world, 5080), "{}", world.log());
    assert!(
        !reaches(&world, "127.0.0.1:8080", "/api/v1/pools") && !reaches(&world, "127.0.0.1:8081", "/metrics")
    );
    assert!(!world.path("api.sock").exists() && world.path("api2.sock").exists());

    // Back again, by the way of a server that finds none to take over from.
    fs::write(world.path("config.yaml"), config).unwrap();
    world.signal_server(nix::sys::signal::Signal::SIGTERM);
    assert!(world.server_ended(HANDOVER).success(), "{}", world.log());
    assert!(!world.path("api2.sock").exists() && !world.path("state/handover.sock").exists());
    let server = world.server_command("config.yaml", &[]).arg("--replace").spawn().unwrap();
    world.serves_now(server);
    world.wait(HANDOVER, "the server", || world.cli(&["pools", "list"]).status.success().then_some(()));
    assert!(
        reaches(&world, "127.0.0.1:8080", "/api/v1/pools") && reaches(&world, "127.0.0.1:8081", "/metrics")
    );
    world.finish();
}

/// Jobs stream through a warm pool while it is handed over: nobody takes a warm machine down for that.
#[test]
fn a_warm_pool_under_load_keeps_its_machines() {
    let mut world =
        World::start(Setup { pools: pool("default", 4, 8, ""), standin: true, ..Setup::default() });
    world.wait_ready("default", 4);
    let (done, submitted) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let client = Client::new(Target::Socket(world.path("api.sock")), None).unwrap();
    let (until, into) = (Arc::clone(&done), Arc::clone(&submitted));
    let stream = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let argv = ["sh", "-c", "sleep 0.2"].map(str::to_owned).to_vec();
        let spec = serde_json::json!({"program": {"command": {"argv": argv}}});
        while !until.load(Ordering::SeqCst) {
            let spec = serde_json::from_value(spec.clone()).unwrap();
            let job = runtime.block_on(client.submit(&spec, &[""; 0])).unwrap();
            into.lock().unwrap().push(job.id.to_string());
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let so_many = |count: usize| submitted.lock().unwrap().len() >= count;
    for round in 1..=3 {
        world.wait(BOOT, "jobs to stream", || so_many(round * 20).then_some(()));
        world.replace();
    }
    done.store(true, Ordering::SeqCst);
    stream.join().unwrap();
    for job in submitted.lock().unwrap().iter() {
        let job = world.wait_job(job, &["succeeded", "failed", "lost"], BOOT);
        assert_eq!((&job["state"], attempts(&job)), (&"succeeded".into(), 1), "{job}\n{}", world.log());
    }
    let log = fs::read_to_string(world.path("server.log")).unwrap();
    let retired: Vec<&str> = log.lines().filter(|line| line.contains("machine retired")).collect();
    assert_eq!(retired, Vec::<&str>::new());
    world.finish();
}
