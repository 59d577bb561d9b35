//! The stand-in for QEMU (crates/standin) under a real server: what other tests, the bench and soak rely on.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::world::{Setup, World, pool, text};

const SOON: Duration = Duration::from_secs(30);

#[test]
fn a_real_server_has_machines_that_cost_nothing() {
    let mut world =
        World::start(Setup { pools: pool("default", 2, 4, ""), standin: true, ..Setup::default() });
    let played = world.submit(&[], "echo hello; sleep 0.2; print-bytes 5000; exit 7");
    let job = world.wait_job(&played, &["failed"], SOON);
    assert_eq!((&job["outcome"]["code"], &job["attempt"]), (&7.into(), &1.into()), "{job}");
    let log = text(&world.cli(&["jobs", "logs", &played]).stdout);
    assert!(log.starts_with("hello\n") && log.len() == 5006, "{} bytes", log.len());

    // A guest that dies is found out as a real one is.
    let dead = world.submit(&[], "die");
    let job = world.wait_job(&dead, &["lost"], SOON);
    assert_eq!(job["attempt"], 2, "{job}");
    assert!(job["reason"].as_str().unwrap().contains("panic"), "{job}");

    // `exec` answers, and a job can be made to wait for it.
    let waiting = world.submit(&[], "echo begun; wait; sleep 1; echo told");
    world.wait_log(&waiting, "begun", SOON);
    let told = world.cli(&["exec", &waiting, "--", "tell"]);
    assert!(told.status.success(), "{}\n{}", text(&told.stderr), world.log());
    world.wait_job(&waiting, &["succeeded"], SOON);

    let hanging = world.submit(&[], "echo begun; hang");
    world.wait_log(&hanging, "begun", SOON);
    let machines = world.machines();
    let machine = machines.iter().find(|machine| machine["job"] == *hanging).unwrap();
    let pid = i32::try_from(machine["pid"].as_i64().unwrap()).unwrap();
    world.signal_server(Signal::SIGKILL);
    world.server_ended(SOON);
    assert!(world.all_processes().iter().any(|(running, _)| *running == pid), "it outlives its server");

    world.boot();
    assert!(world.cli(&["jobs", "cancel", &hanging]).status.success());
    world.wait_job(&hanging, &["cancelled"], SOON);
    world.finish();
}
