//! The host is drained for maintenance, over restarts and crashes of its server.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::world::{Setup, World, pool, text};

const SOON: Duration = Duration::from_secs(30);

impl World {
    fn drain(&self, options: &[&str]) -> Value {
        self.json(&[&["drain"], options].concat())
    }

    fn states(&self) -> Vec<String> {
        self.machines().iter().map(|machine| machine["state"].as_str().unwrap().to_owned()).collect()
    }

    /// An answer of the API, with its status line and headers.
    pub(crate) fn get(&self, path: &str) -> String {
        let mut connection = UnixStream::connect(self.path("api.sock")).unwrap();
        connection.set_read_timeout(Some(SOON)).unwrap();
        write!(connection, "GET {path} HTTP/1.1\r\nhost: server\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).unwrap();
        text(&answer)
    }

    /// What follows this in the metrics: a series, and a space.
    pub(crate) fn metric(&self, name: &str) -> String {
        let metrics = self.get("/metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {metrics}")).trim().to_owned()
    }
}

#[test]
fn a_drained_host_empties_and_stays_drained_until_it_is_told_otherwise() {
    let mut world = World::start(Setup {
        pools: pool("default", 1, 3, ""),
        more: "shutdown: {mode: leave}".to_owned(),
        standin: true,
        ..Setup::default()
    });
    let running = world.submit(&[], "echo begun; wait; sleep 1; echo ended");
    world.wait_log(&running, "begun", SOON);
    world.wait_ready("default", 1);
    assert_eq!(world.metric("fireactions_host_drained "), "0");
    assert!(world.get("/readyz").starts_with("HTTP/1.1 200"), "{}", world.get("/readyz"));

    let since = world.drain(&["--reason", "new disks"])["drained"]["since"].clone();
    world.wait(SOON, "the idle machine to go", || (world.states() == ["busy"]).then_some(()));
    // The queue takes jobs, and says why they wait.
    let queued = world.submit(&[], "echo later");
    let why = world.wait_waiting(&queued, "drained");
    assert_eq!((&why["why"], &why["since"]), (&"new disks".into(), &since));
    let shown = text(&world.cli(&["ps"]).stdout);
    assert!(shown.contains("drained") && shown.contains("new disks"), "{shown}");
    assert!(text(&world.cli(&["pools", "list"]).stdout).contains("host drained"));
    assert_eq!(world.metric("fireactions_host_drained "), "1");
    // Jobs are still taken; who looks is told that none begins.
    let ready = world.get("/readyz");
    assert!(ready.starts_with("HTTP/1.1 200") && ready.contains("new disks"), "{ready}");
    assert!(world.get("/healthz").starts_with("HTTP/1.1 200"));

    // Again is no other time, but the last reason counts, which stays where none is given; and it is waited for no longer than asked.
    assert_eq!(world.drain(&["--reason", "new memory"])["drained"]["since"], since);
    let waited = world.cli(&["drain", "--wait=1s"]);
    assert_eq!(waited.status.code(), Some(1), "{}{}", text(&waited.stdout), text(&waited.stderr));

    // It outlives its server, however that ends, and the job does, too.
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        world.signal_server(signal);
        world.server_ended(SOON);
        world.boot();
        assert_eq!(world.wait_waiting(&queued, "drained")["why"], "new memory");
        assert_eq!(world.states(), ["busy"]);
    }
    // The adopted machine's agent may still be dialling. (The job does not end before `exec` is answered.)
    world.wait(SOON, "the job's machine to be heard", || {
        world.cli(&["exec", &running, "--", "tell"]).status.success().then_some(())
    });
    let emptied = world.cli(&["drain", "--reason", "new memory", "--wait=30s"]);
    assert!(emptied.status.success(), "{}{}", text(&emptied.stdout), text(&emptied.stderr));
    assert_eq!(world.job(&running)["state"], "succeeded");
    assert_eq!(world.states(), [""; 0]);
    assert_eq!(world.job(&queued)["state"], "queued");

    for _ in 0..2 {
        assert_eq!(world.json(&["undrain"])["drained"], Value::Null);
    }
    world.wait_job(&queued, &["succeeded"], SOON);
    assert!(!world.get("/readyz").contains("drained"), "{}", world.get("/readyz"));
    world.wait_ready("default", 1);
    world.finish();
}
