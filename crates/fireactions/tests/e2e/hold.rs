//! Machines of failed jobs are held to be looked into: who can see them, what they cost, and when they go.

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
    let pools = pool("default", 0, 1, "    on_failure: {hold: {for: 5m, max: 1}}\n");
    let world = World::start(Setup { pools, ..Setup::default() });
    let job = world
        .submit(&[], "echo evidence >/tmp/evidence; while [ ! -e /tmp/told ]; do sleep 0.1; done; exit 3");
    world.wait_job(&job, &["running"], BOOT);
    let refused = world.cli(&["machines", "remove", &job]);
    let said = text(&refused.stderr);
    assert!(!refused.status.success() && said.contains("has a job"), "{said}");
    world.tell(&job);
    let failed = world.wait_job(&job, &["failed"], BOOT);
    let held = world.wait(SOON, "the machine to be held", || world.held().pop());
    let id = held["id"].as_str().unwrap();
    assert_eq!(failed["machine"], *id);
    assert_eq!(text(&world.exec(id, "cat /tmp/evidence").stdout), "evidence\n", "{}", world.log());
    assert!(world.cli(&["logs", id]).status.success());
    assert!(world.cli(&["machines", "remove", id]).status.success());
    world.wait(SOON, "it to go", || world.machines().is_empty().then_some(()));
    world.finish();
}
