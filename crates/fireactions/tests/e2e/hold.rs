//! Machines are held to be looked into, those of failed jobs and those that an operator wants: who can see them, what they cost, and when
//! they go.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::world::{BOOT, Setup, World, pool, text};

const SOON: Duration = Duration::from_secs(60);

impl World {
    fn held(&self) -> Vec<Value> {
        self.machines().into_iter().filter(|machine| machine["state"] == "held").collect()
    }

    fn fail(&self, label: &str) -> Value {
        let job = self.submit(&["--label", label], "echo oops; exit 3");
        self.wait_job(&job, &["failed"], SOON)
    }
}

#[test]
fn held_machines_cost_budget_and_nothing_else_and_go_on_time() {
    let pools = pool("default", 0, 1, "    on_failure: {hold: {for: 5m, max: 1}}\n")
        + &pool("brief", 0, 1, "    on_failure: {hold: {for: 2s, max: 1}}\n");
    let more = "shutdown: {mode: leave}".to_owned();
    let mut world = World::start(Setup { pools, more, standin: true, ..Setup::default() });
    let failed = world.fail("default");
    let held = world.wait(SOON, "the machine to be held", || world.held().pop());
    assert_eq!((&held["id"], &held["failure"]["kind"]), (&failed["machine"], &"job".into()), "{held}");
    assert!(held["held_until"].is_string(), "{held}");
    // Whoever asks for the job learns where to look.
    let id = held["id"].as_str().unwrap();
    let shown = text(&world.cli(&["jobs", "show", failed["id"].as_str().unwrap()]).stdout);
    assert!(shown.contains(&format!("fireactions login {id}")), "{shown}");
    let shown = text(&world.cli(&["ps"]).stdout);
    assert!(shown.contains(held["held_until"].as_str().unwrap().split('.').next().unwrap()), "{shown}");

    // The pool's one machine is another one: no backoff, and the maximum is free.
    let next = world.submit(&["--label", "default"], "true");
    world.wait_job(&next, &["succeeded"], SOON);
    // A second is not held beside it.
    let second = world.fail("default");
    world.wait(SOON, "the second to go", || (world.machines().len() == 1).then_some(()));
    assert_ne!(second["machine"], held["id"]);
    assert_eq!(world.json(&["pools", "show", "default"])["backoff"], Value::Null);

    // It takes its part of the budget, over a crash of the server too.
    world.signal_server(Signal::SIGKILL);
    world.server_ended(SOON);
    world.boot();
    // The store keeps microseconds.
    let until = |machine: &Value| {
        let time: jiff::Timestamp = machine["held_until"].as_str().unwrap().parse().unwrap();
        time.as_microsecond()
    };
    assert_eq!(until(&world.held()[0]), until(&held));
    let large = world.submit(&["--label", "default", "--memory", "7900"], "true");
    let why = world.wait_waiting(&large, "host_full");
    assert_eq!((&why["held"], &why["held_mib"]), (&1.into(), &320.into()), "256 MiB and the overhead");
    let removed = world.cli(&["machines", "remove", id]);
    assert!(removed.status.success(), "{}", text(&removed.stderr));
    world.wait_job(&large, &["succeeded"], SOON);
    let again = world.cli(&["machines", "remove", id]);
    assert!(!again.status.success() && text(&again.stderr).contains("there is no machine"));

    world.fail("brief");
    let brief = world.wait(SOON, "the brief one to be held", || world.held().pop());
    world.wait(SOON, "it to go by itself", || world.machines().is_empty().then_some(()));
    assert!(jiff::Timestamp::now().as_microsecond() >= until(&brief), "before its time: {brief}");
    world.finish();
}

#[test]
fn a_held_machine_can_be_entered_and_a_busy_one_is_not_removed() {
    // That of a job that failed is in the walk over the fail points.
    let world = World::start(Setup { pools: pool("default", 0, 1, ""), ..Setup::default() });
    let job = world.submit(&[], "echo evidence >/tmp/evidence; while [ ! -e /tmp/told ]; do sleep 0.1; done");
    world.wait_job(&job, &["running"], BOOT);
    let refused = world.cli(&["machines", "remove", &job]);
    let said = text(&refused.stderr);
    assert!(!refused.status.success() && said.contains("has a job"), "{said}");
    world.says(&["machines", "hold", &job]);
    world.tell(&job);
    let ended = world.wait_job(&job, &["succeeded"], BOOT);
    let held = world.wait(SOON, "the machine to be held", || world.held().pop());
    let id = held["id"].as_str().unwrap();
    assert_eq!(ended["machine"], *id);
    // What it uses is known while its VMM runs, also after its job.
    let used = world.says(&["ps"]);
    let memory = used.lines().find(|line| line.starts_with(id)).unwrap().split_once(" of 256 MiB").unwrap().0;
    let memory: u64 = memory.rsplit(' ').next().unwrap().parse().unwrap();
    assert!((16..2048).contains(&memory), "{used}");
    assert!(used.contains(" of 1 "), "processors: {used}");
    assert_eq!(text(&world.exec(id, "cat /tmp/evidence").stdout), "evidence\n", "{}", world.log());
    assert!(world.cli(&["logs", id]).status.success());
    assert!(world.cli(&["machines", "remove", id]).status.success());
    world.wait(SOON, "it to go", || world.machines().is_empty().then_some(()));
    world.finish();
}

impl World {
    /// A job that runs until it is told.
    fn waiting_job(&self) -> String {
        let job = self.submit(&[], "echo begun; wait; echo ended");
        self.wait_log(&job, "begun", SOON);
        self.wait_job(&job, &["running"], SOON);
        job
    }

    fn end(&self, job: &str) {
        self.wait(SOON, "the job to be told", || {
            self.cli(&["exec", job, "--", "tell"]).status.success().then_some(())
        });
    }

    /// What the command says, which must succeed.
    fn says(&self, args: &[&str]) -> String {
        let output = self.cli(args);
        assert!(output.status.success(), "{args:?}: {}\n{}", text(&output.stderr), self.log());
        text(&output.stdout)
    }

    /// How the command refuses.
    fn refuses(&self, args: &[&str]) -> String {
        let output = self.cli(args);
        assert!(!output.status.success(), "{args:?}: {}", text(&output.stdout));
        text(&output.stderr)
    }

    fn killed_and_started(&mut self) {
        self.signal_server(Signal::SIGKILL);
        self.server_ended(SOON);
        self.boot();
    }
}

#[test]
fn an_operator_has_a_machine_held_whatever_becomes_of_its_job_and_of_the_server() {
    let more = "shutdown: {mode: leave}".to_owned();
    let mut world =
        World::start(Setup { pools: pool("default", 1, 2, ""), more, standin: true, ..Setup::default() });
    let idle = world.wait_ready("default", 1).remove(0);
    let idle = idle["id"].as_str().unwrap().to_owned();
    assert!(world.refuses(&["machines", "hold", &idle]).contains("has no job"));
    assert!(world.refuses(&["machines", "hold", "m0000000000"]).contains("there is no machine"));
    let job = world.waiting_job();
    assert!(
        world.refuses(&["machines", "hold", &job, "--for", "8d"]).contains("held for 1 to 604800 seconds")
    );
    assert!(world.says(&["machines", "hold", &job, "--for", "5m"]).contains("held for 5m"));
    // What was acknowledged stands, however the server ends.
    world.killed_and_started();
    world.wait(SOON, "the machine to be shown", || {
        world.says(&["ps"]).contains("to be held for 5m").then_some(())
    });
    world.end(&job);
    let ended = world.wait_job(&job, &["succeeded"], SOON);
    let held = world.wait(SOON, "the machine to be held", || world.held().pop());
    assert_eq!((&held["id"], &held["failure"]), (&ended["machine"], &Value::Null), "{held}");
    assert!(held.get("hold_secs").is_none(), "{held}");
    let time = |what: &Value| what.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let left = time(&held["held_until"]).duration_since(time(&ended["finished_at"])).as_secs();
    assert!((290..=330).contains(&left), "from the end of its job on: {left}");
    assert!(world.says(&["jobs", "show", &job]).contains("fireactions login"));
    assert!(world.says(&["ps"]).contains("an operator asked for it"));
    assert!(world.refuses(&["machines", "hold", &job]).contains("is held already, until"));
    world.killed_and_started();
    world.wait(SOON, "it to be held still", || world.held().pop());
    world.says(&["machines", "remove", &job]);

    // Also one whose job is cancelled; and a wish is taken back, at the next server too.
    let (cancelled, unwished) = (world.waiting_job(), world.waiting_job());
    world.says(&["machines", "hold", &cancelled]);
    world.says(&["machines", "hold", &unwished]);
    world.replace();
    world.says(&["machines", "unhold", &unwished]);
    world.says(&["jobs", "cancel", &cancelled]);
    world.wait_job(&cancelled, &["cancelled"], SOON);
    world.end(&unwished);
    world.wait_job(&unwished, &["succeeded"], SOON);
    world.wait(SOON, "one to be held and the other to go", || {
        let jobs: Vec<Value> = world.machines().iter().map(|machine| machine["job"].clone()).collect();
        (world.held().len() == 1 && !jobs.contains(&unwished.as_str().into())).then_some(())
    });
    let log = world.log();
    let asked = |method: &str| log.lines().any(|line| line.contains("/hold") && line.contains(method));
    assert!(asked("PUT") && asked("DELETE"), "{log}");
    world.says(&["machines", "remove", &cancelled]);
    world.finish();
}

#[cfg(feature = "failpoints")]
#[test]
fn a_machine_that_is_held_by_the_next_server_can_be_entered() {
    let pools = pool("default", 0, 1, "");
    let mut world = World::new(Setup { pools, standin: true, ..Setup::default() });
    // Its job's end is told, and it is not held yet.
    world.boot_until("machine::told");
    let job = world.waiting_job();
    world.says(&["machines", "hold", &job, "--for", "5m"]);
    // It may be killed before it answers.
    let _ = world.cli(&["exec", &job, "--", "tell"]);
    world.server_died("machine::told");
    world.boot();
    let held = world.wait(SOON, "the machine to be held", || world.held().pop());
    assert_eq!(
        text(&world.exec(held["id"].as_str().unwrap(), "echo here").stdout),
        "here\n",
        "{}",
        world.log()
    );
    world.says(&["machines", "remove", &job]);
    world.finish();
}
