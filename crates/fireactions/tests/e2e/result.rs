//! Once a job has ended, its result is recorded, whatever the state store does meanwhile: no job is doubled, lost or stuck.

use std::fs;
use std::process::Child;
use std::time::Duration;

use serde_json::Value;

use crate::world::{Setup, World, pool, text};

const SOON: Duration = Duration::from_secs(120);
/// A played job that ends with 3 when it is told to.
const UNTIL_TOLD: &str = "echo begun; wait; exit 3";

impl World {
    /// Jobs that have begun and wait to be told.
    fn begun(&self, count: usize) -> Vec<String> {
        let jobs: Vec<String> = (0..count).map(|_| self.submit(&[], UNTIL_TOLD)).collect();
        for job in &jobs {
            self.wait_log(job, "begun", SOON);
        }
        jobs
    }

    fn end_them(&self, jobs: &[String]) {
        for job in jobs {
            let told = self.cli(&["exec", job, "--", "tell"]);
            assert!(told.status.success(), "{}\n{}", text(&told.stderr), self.log());
        }
    }

    /// Waits until each says that its result is known and not recorded.
    fn wait_recording(&self, jobs: &[String]) {
        for job in jobs {
            let why = self.wait_waiting(job, "recording");
            assert_eq!(why["outcome"]["code"], 3, "{why}");
        }
    }

    /// Each ended as it did, in its first attempt.
    fn assert_ended(&self, jobs: &[String]) {
        for job in jobs {
            let job = self.wait_job(job, &["failed", "lost", "succeeded"], SOON);
            let told = (&job["state"], &job["outcome"]["code"], &job["attempt"], &job["waiting"]);
            assert_eq!(told, (&"failed".into(), &3.into(), &1.into(), &Value::Null), "{job}\n{}", self.log());
        }
    }
}

fn world(before: &str, bare: bool) -> World {
    World::start(Setup {
        pools: pool("default", 0, 4, ""),
        before: before.to_owned(),
        standin: true,
        bare,
        ..Setup::default()
    })
}

/// Takes all room that there is, and what is freed, until it is killed.
struct Filler<'a> {
    world: &'a World,
    child: Child,
}

impl<'a> Filler<'a> {
    fn start(world: &'a World) -> Self {
        let state = world.path("state").display().to_string();
        let fill =
            format!("while :; do head -c 4096 /dev/zero >>{state}/filler 2>/dev/null || sleep 0.01; done");
        let child = world.namespace.command("sh").args(["-c", &fill]).spawn().unwrap();
        let filler = Self { world, child };
        world.wait(SOON, "the disk to be full", || {
            let free = world.in_namespace(&["stat", "-f", "-c", "%a", &state]);
            (text(&free.stdout).trim() == "0").then_some(())
        });
        filler
    }

    fn end(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let state = self.world.path("state").display().to_string();
        assert!(self.world.in_namespace(&["rm", &format!("{state}/filler")]).status.success());
    }
}

#[test]
fn results_that_come_while_the_disk_is_full_are_recorded_when_it_is_not() {
    let world = world("mkdir -p $DIR/state/run; mount -t tmpfs -o size=96m none $DIR/state", true);
    let jobs = world.begun(3);
    let filler = Filler::start(&world);
    world.end_them(&jobs);
    let refused = |job: &String| {
        let log = fs::read_to_string(world.path("server.log")).unwrap();
        log.lines().any(|line| line.contains("could not be recorded") && line.contains(job.as_str()))
    };
    // The first that is refused gives its disk back, and another may find that room before the filler does.
    world.wait(SOON, "each result to be refused, or recorded in the room that another gave back", || {
        jobs.iter().all(|job| refused(job) || world.job(job)["state"] == "failed").then_some(())
    });
    assert!(jobs.iter().any(refused), "the disk was not full\n{}", world.log());
    filler.end();
    world.assert_ended(&jobs);
    let after = world.submit(&[], "true");
    world.wait_job(&after, &["succeeded"], SOON);
    world.finish();
}

#[test]
fn results_that_come_while_somebody_locks_the_database_are_recorded_afterwards() {
    let world = world("", false);
    let jobs = world.begun(2);
    // On its way to a machine when the lock comes, wherever it is by then.
    let on_its_way = world.submit(&[], "exit 3");
    let somebody = rusqlite::Connection::open(world.path("state/state.db")).unwrap();
    somebody.busy_timeout(SOON).unwrap();
    somebody.execute_batch("BEGIN IMMEDIATE").unwrap();
    world.end_them(&jobs);
    world.wait_recording(&jobs);
    let shown = text(&world.cli(&["jobs", "show", &jobs[0]]).stdout);
    assert!(shown.contains("the result is known (exit code 3), but not recorded yet"), "{shown}");
    somebody.execute_batch("ROLLBACK").unwrap();
    world.assert_ended(&[jobs, vec![on_its_way]].concat());
    world.finish();
}

#[cfg(feature = "failpoints")]
#[test]
fn results_that_come_while_the_disk_fails_survive_the_server_too() {
    let mut world = world("", false);
    world.signal_server(nix::sys::signal::Signal::SIGKILL);
    world.server_ended(SOON);
    let broken = world.path("broken");
    let fail = format!("store::commit-refused={}", broken.display());
    world.boot_with(&[("FIREACTIONS_FAIL_WHILE", &fail)]);
    let jobs = world.begun(2);
    fs::write(&broken, "").unwrap();
    world.end_them(&jobs);
    world.wait_recording(&jobs);
    // Their guests alone know the results now, and the next server asks them.
    world.signal_server(nix::sys::signal::Signal::SIGKILL);
    world.server_ended(SOON);
    fs::remove_file(&broken).unwrap();
    world.boot();
    world.assert_ended(&jobs);
    world.finish();
}
