//! The server as a service manager sees it: sd_notify(3), sd_listen_fds(3). The manager is the test.

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::Command;
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::{Setup, World, pool, text};

const SOON: Duration = Duration::from_secs(30);

struct Manager {
    socket: UnixDatagram,
    path: String,
}

impl Manager {
    fn new(world: &World) -> Self {
        let path = world.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Self { socket, path: path.display().to_string() }
    }

    /// What is said next; none after a while of silence.
    fn hears(&self) -> Option<String> {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(text(&buffer[..length]))
    }

    fn hears_next(&self, world: &World) -> String {
        let deadline = Instant::now() + SOON;
        while Instant::now() < deadline {
            if let Some(said) = self.hears() {
                return said;
            }
        }
        panic!("the service manager heard nothing\n{}", world.log());
    }

    /// Listens until something with `wanted` is said.
    fn hears_of(&self, wanted: &str, world: &World) -> String {
        let deadline = Instant::now() + SOON;
        while Instant::now() < deadline {
            if let Some(said) = self.hears().filter(|said| said.contains(wanted)) {
                return said;
            }
        }
        panic!("the service manager was not told {wanted}\n{}", world.log());
    }
}

fn stopped(world: &mut World) {
    world.signal_server(Signal::SIGTERM);
    assert!(world.server_ended(SOON).success(), "{}", world.log());
}

#[test]
fn a_server_may_have_as_many_open_files_as_its_hard_limit_says() {
    let world = World::start(Setup { pools: pool("default", 0, 1, ""), standin: true, ..Setup::default() });
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", world.server_pid())).unwrap();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let mut words = files.split_whitespace();
    let (soft, hard) = (words.next().unwrap(), words.next().unwrap());
    assert!(soft == hard && soft != "1024", "it was started with 1024: {files}");
    world.finish();
}

#[test]
fn the_service_manager_is_told_of_start_life_reload_and_end() {
    let mut world =
        World::start(Setup { pools: pool("default", 0, 1, ""), standin: true, ..Setup::default() });
    stopped(&mut world);
    let manager = Manager::new(&world);
    world.boot_with(&[("NOTIFY_SOCKET", &manager.path), ("WATCHDOG_USEC", "900000")]);
    manager.hears_of("READY=1", &world);
    manager.hears_of("WATCHDOG=1", &world);
    manager.hears_of("STATUS=0 machines", &world);

    // A reload that fails is over, and the server goes on.
    let config = std::fs::read_to_string(world.path("config.yaml")).unwrap();
    std::fs::write(world.path("config.yaml"), format!("{config}\nno_such_key: 1\n")).unwrap();
    world.signal_server(Signal::SIGHUP);
    manager.hears_of("RELOADING=1", &world);
    let said = manager.hears_of("STATUS=a new server could not be started", &world);
    assert!(said.contains("READY=1"), "{said}");
    assert_eq!(world.json(&["version"])["server"]["pid"], world.server_pid());
    std::fs::write(world.path("config.yaml"), config).unwrap();

    // A reload: the server starts its successor, which hears of the manager from it.
    let before = world.server_pid();
    kill(Pid::from_raw(before), Signal::SIGHUP).unwrap();
    manager.hears_of("RELOADING=1", &world);
    let said = manager.hears_of("MAINPID=", &world);
    let pid: i32 = said.lines().find_map(|line| line.strip_prefix("MAINPID=")).unwrap().parse().unwrap();
    assert!(said.contains("READY=1") && pid != before, "{said}");
    assert!(world.server_ended(SOON).success(), "{}", world.log());
    manager.hears_of("WATCHDOG=1", &world);
    assert_eq!(world.json(&["version"])["server"]["pid"], pid);

    // A server whose clients get no answer does not live, and says why.
    let (socket, hidden) = (world.path("api.sock"), world.path("hidden.sock"));
    std::fs::rename(&socket, &hidden).unwrap();
    let said = manager.hears_of("STATUS=hangs", &world);
    assert!(said.contains("the API fails"), "{said}");
    for _ in 0..3 {
        let said = manager.hears_next(&world);
        assert!(said.contains("STATUS=hangs"), "{said}");
    }
    std::fs::rename(&hidden, &socket).unwrap();
    manager.hears_of("WATCHDOG=1", &world);

    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    manager.hears_of("STOPPING=1", &world);
    world.wait(SOON, "the successor to end", || world.all_processes().is_empty().then_some(()));
    world.assert_nothing_left();
}

#[test]
fn the_service_managers_socket_outlives_servers_and_clients_wait_in_it() {
    let mut world =
        World::start(Setup { pools: pool("default", 0, 1, ""), standin: true, ..Setup::default() });
    stopped(&mut world);
    let socket = UnixListener::bind(world.path("api.sock")).unwrap();
    let boot = |world: &mut World| {
        let passed = [("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "api")];
        let parent_fd: OwnedFd = socket.try_clone().unwrap().into();
        let mut command = world.server_command("config.yaml", &passed);
        command.fd_mappings(vec![FdMapping { parent_fd, child_fd: 3 }]).unwrap();
        let server = command.spawn().unwrap();
        world.serves_now(server);
    };
    boot(&mut world);
    assert!(world.cli(&["pools", "list"]).status.success());
    let path = world.path("api.sock").display().to_string();

    world.signal_server(Signal::SIGKILL);
    world.server_ended(SOON);
    let mut waiting = world.command().args(["pools", "list"]).spawn().unwrap();
    world.wait(SOON, "a client in the socket's queue", || {
        // recvq of a listening socket: connections that nobody has taken yet (ss(8)).
        let sockets = text(&Command::new("ss").arg("-lxH").output().unwrap().stdout);
        let ours = sockets.lines().find(|line| line.contains(&path)).expect(&sockets);
        (ours.split_whitespace().nth(2) == Some("1")).then_some(())
    });
    assert!(waiting.try_wait().unwrap().is_none(), "a client waits while there is no server");
    boot(&mut world);
    assert!(waiting.wait().unwrap().success(), "{}", world.log());

    // Another server gets it from this one; and its end does not remove what is not its own.
    let mut new = world.server_command("config.yaml", &[]);
    let server = new.arg("--replace").spawn().unwrap();
    let mut old = world.serves_now(server).unwrap();
    assert!(old.wait().unwrap().success(), "{}", world.log());
    assert_eq!(world.json(&["version"])["server"]["pid"], world.server_pid());
    stopped(&mut world);
    assert!(world.path("api.sock").exists());
    world.assert_nothing_left();
}

#[test]
fn a_stop_that_waits_asks_for_more_time_and_ends_at_its_deadline() {
    let more = "shutdown: {mode: wait, deadline: 3s}".to_owned();
    let pools = pool("default", 0, 1, "");
    let mut world = World::start(Setup { pools, more, standin: true, ..Setup::default() });
    stopped(&mut world);
    let manager = Manager::new(&world);
    world.boot_with(&[("NOTIFY_SOCKET", &manager.path)]);
    manager.hears_of("READY=1", &world);
    let job = world.submit(&[], "echo begun; hang");
    world.wait_log(&job, "begun", SOON);
    let asked = Instant::now();
    world.signal_server(Signal::SIGTERM);
    manager.hears_of("STOPPING=1", &world);
    let said = manager.hears_of("EXTEND_TIMEOUT_USEC=", &world);
    let micros: u64 = said.trim().trim_start_matches("EXTEND_TIMEOUT_USEC=").parse().unwrap();
    assert!(micros >= 10_000_000, "a manager that is busy must not be late: {said}");
    assert!(world.server_ended(SOON).success(), "{}", world.log());
    assert!(asked.elapsed() >= Duration::from_secs(3), "the job had less time than the deadline");
    assert!(world.log().contains("its shutdown deadline passed"), "{}", world.log());
    world.assert_nothing_left();

    // As after any loss of a machine, the job runs again.
    world.boot();
    let again = world.wait(SOON, "the second attempt", || {
        let job = world.job(&job);
        (job["attempt"] == 2).then_some(job)
    });
    assert!(again["reason"].as_str().unwrap().contains("shutdown deadline passed"), "{again}");
    assert!(world.cli(&["jobs", "cancel", &job]).status.success());
    world.wait_job(&job, &["cancelled"], SOON);
    world.finish();
}
