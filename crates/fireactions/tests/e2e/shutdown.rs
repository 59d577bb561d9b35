//! What becomes of running jobs when their server is stopped.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::namespace::accepted;
use crate::world::{BOOT, Setup, UNTIL_TOLD, World, attempts, pool, text};

/// Where a job says that it is at its end.
const ENDING: u16 = 9000;

const STOP: Duration = Duration::from_secs(60);

fn start(mode: &str) -> World {
    let more = format!("shutdown: {{mode: {mode}, deadline: 5m}}");
    let pools = pool("default", 1, 1, &format!("    network: {{host_ports: [tcp/{ENDING}]}}\n"))
        + &pool("spare", 1, 1, "");
    World::start(Setup { pools, more, ..Setup::default() })
}

impl World {
    fn machine_of(&self, job: &str) -> Option<serde_json::Value> {
        self.machines().into_iter().find(|machine| machine["job"] == *job)
    }

    /// Stops the server, which must end well; machines of jobs may stay.
    fn stop(&mut self) {
        self.signal_server(Signal::SIGTERM);
        let status = self.server_ended(STOP);
        assert!(status.success(), "{status:?}\n{}", self.log());
    }

    /// The job ran on without a server, is told to end, and has lost nothing.
    fn went_on(&mut self, job: &str, machine: &serde_json::Value) {
        self.boot();
        let after = self.machine_of(job).unwrap_or_else(|| panic!("no machine has the job\n{}", self.log()));
        assert_eq!((&after["id"], &after["pid"]), (&machine["id"], &machine["pid"]));
        self.tell(job);
        let ended = self.wait_job(job, &["succeeded"], BOOT);
        assert_eq!(attempts(&ended), 1, "{ended}");
        assert_eq!(text(&self.cli(&["jobs", "logs", job]).stdout), "begun\nended\n");
    }
}

#[test]
fn left_jobs_end_without_a_server_and_their_next_one_tells_it_all() {
    let mut world = start("leave");
    world.wait_ready("spare", 1);
    let ending = world.namespace.listen(([0, 0, 0, 0], ENDING));
    // Its last act is a call, which is heard whether there is a server or not.
    let script = format!(
        "for i in $(seq 60); do echo line $i; sleep 0.1; done; nc 172.30.0.1 {ENDING} </dev/null; exit 3"
    );
    let job = world.submit(&["--label", "default"], &script);
    world.wait_log(&job, "line 2\n", BOOT);
    let machine = world.machine_of(&job).unwrap();

    world.stop();
    assert!(world.log().contains("the next start takes them over"), "{}", world.log());
    assert!(!world.path("api.sock").exists());
    let left = world.processes();
    assert_eq!(left.len(), 1, "the idle machine is gone, the job's runs: {left:?}");
    assert_eq!(i64::from(left[0].0), machine["pid"].as_i64().unwrap());
    assert_eq!(world.taps(), [format!("fa{}", machine["id"].as_str().unwrap())], "with its network");
    drop(accepted(&ending, BOOT));

    world.boot();
    let ended = world.wait_job(&job, &["failed"], BOOT);
    assert_eq!((&ended["outcome"]["code"], attempts(&ended)), (&3.into(), 1), "{ended}");
    let whole = (1..=60).fold(String::new(), |text, n| text + &format!("line {n}\n"));
    assert_eq!(text(&world.cli(&["jobs", "logs", &job]).stdout), whole);
    world.wait_ready("default", 1);
    world.finish();
}

#[test]
fn waiting_ends_with_the_job_or_with_a_second_signal() {
    let mut world = start("wait");
    world.wait_ready("spare", 1);
    let running = world.submit(&["--label", "default"], &format!("{UNTIL_TOLD}; echo ended"));
    world.wait_log(&running, "begun", BOOT);
    let queued = world.submit(&["--label", "default"], &format!("{UNTIL_TOLD}; echo ended"));

    world.signal_server(Signal::SIGTERM);
    world.wait(Duration::from_secs(30), "the idle machine to go", || {
        let machines = world.machines();
        assert!(world.machine_of(&running).is_some(), "the job's machine stays: {machines:?}");
        (machines.len() == 1).then_some(())
    });
    let refused = world.cli(&["run", "--", "true"]);
    assert_eq!(refused.status.code(), Some(125));
    assert!(text(&refused.stderr).contains("stopping"), "{}", text(&refused.stderr));
    assert_eq!(world.job(&running)["state"], "running");
    assert_eq!(world.job(&queued)["state"], "queued");
    world.tell(&running);
    let status = world.server_ended(STOP);
    assert!(status.success(), "{status:?}\n{}", world.log());
    world.assert_nothing_left();

    world.boot();
    let job = world.job(&running);
    assert_eq!((&job["state"], attempts(&job)), (&"succeeded".into(), 1), "{job}");
    assert_eq!(text(&world.cli(&["jobs", "logs", &running]).stdout), "begun\nended\n");

    // The other job: not waited for after all.
    world.wait_log(&queued, "begun", BOOT);
    world.wait_ready("spare", 1);
    let machine = world.machine_of(&queued).unwrap();
    world.signal_server(Signal::SIGTERM);
    world.wait(Duration::from_secs(30), "the idle machine to go", || {
        (world.machines().len() == 1).then_some(())
    });
    world.stop();
    world.went_on(&queued, &machine);
    world.finish();
}

#[test]
fn killed_jobs_are_undone_and_tried_again() {
    let mut world = start("kill");
    let job = world.submit(&["--label", "default"], UNTIL_TOLD);
    world.wait_log(&job, "begun", BOOT);
    world.stop();
    world.assert_nothing_left();

    world.boot();
    let second = world.wait(BOOT, "the second attempt", || {
        let job = world.job(&job);
        (job["state"] == "running").then_some(job)
    });
    assert_eq!(second["attempt"], 2, "{second}");
    assert!(second["reason"].as_str().unwrap().contains("shutdown.mode 'kill'"), "{second}");
    world.wait(BOOT, "the second attempt's output", || {
        (text(&world.cli(&["jobs", "logs", &job]).stdout).matches("begun").count() == 2).then_some(())
    });
    world.tell(&job);
    assert_eq!(world.wait_job(&job, &["succeeded"], BOOT)["attempt"], 2);
    world.finish();
}

#[test]
fn a_killed_servers_jobs_go_on() {
    let mut world = World::start(Setup { pools: pool("default", 1, 1, ""), ..Setup::default() });
    let job = world.submit(&[], &format!("{UNTIL_TOLD}; echo ended"));
    world.wait_log(&job, "begun", BOOT);
    let queued = world.submit(&["--name", "later"], "echo next");
    let machine = world.machine_of(&job).unwrap();
    world.signal_server(Signal::SIGKILL);
    world.server_ended(Duration::from_secs(10));
    assert!(!world.all_processes().is_empty(), "machines outlive their server");

    world.went_on(&job, &machine);
    assert_eq!(attempts(&world.wait_job(&queued, &["succeeded"], BOOT)), 1);
    assert_eq!(text(&world.cli(&["jobs", "logs", &queued]).stdout), "next\n");
    world.finish();
}
