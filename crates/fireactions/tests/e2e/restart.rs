//! Servers that end, in peace and otherwise, and the next one on the same state.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::world::{BOOT, Setup, UNTIL_TOLD, World, pool, text};

#[test]
fn sigterm_drains_and_the_queue_survives() {
    let pools = pool("default", 1, 1, "") + &pool("spare", 1, 1, "");
    let mut world = World::start(Setup { pools, ..Setup::default() });
    world.wait_ready("spare", 1);
    let running = world.submit(&["--label", "default"], &format!("{UNTIL_TOLD}; echo ended"));
    world.wait_log(&running, "begun", BOOT);
    let queued = world.submit(&["--label", "default"], "echo next");

    world.signal_server(Signal::SIGTERM);
    world.wait(Duration::from_secs(30), "the idle machine to go", || {
        let machines = world.machines();
        assert!(
            machines.iter().any(|machine| machine["job"] == *running),
            "the job's machine stays: {machines:?}"
        );
        (machines.len() == 1).then_some(())
    });
    let refused = world.cli(&["run", "--", "true"]);
    assert_eq!(refused.status.code(), Some(125));
    assert!(text(&refused.stderr).contains("stopping"), "{}", text(&refused.stderr));
    assert_eq!(world.job(&running)["state"], "running");
    assert_eq!(world.job(&queued)["state"], "queued");
    world.tell(&running);
    let status = world.server_ended(Duration::from_secs(60));
    assert!(status.success(), "{status:?}\n{}", world.log());
    world.assert_nothing_left();

    world.boot();
    let job = world.job(&running);
    assert_eq!((&job["state"], &job["attempt"]), (&"succeeded".into(), &1.into()), "{job}");
    assert_eq!(text(&world.cli(&["jobs", "logs", &running]).stdout), "begun\nended\n");
    assert_eq!(world.wait_job(&queued, &["succeeded"], BOOT)["attempt"], 1);
    assert_eq!(text(&world.cli(&["jobs", "logs", &queued]).stdout), "next\n");
    world.finish();
}

#[test]
fn a_killed_server_leaves_nothing_to_the_next_one_but_the_jobs() {
    let mut world = World::start(Setup { pools: pool("default", 1, 1, ""), ..Setup::default() });
    let id = world.submit(&[], UNTIL_TOLD);
    world.wait_log(&id, "begun", BOOT);
    let queued = world.submit(&["--name", "later"], "echo next");
    let before = world.machines();
    let old: Vec<&str> = before.iter().map(|machine| machine["id"].as_str().unwrap()).collect();

    world.signal_server(Signal::SIGKILL);
    world.server_ended(Duration::from_secs(10));
    let orphans = world.namespace.processes();
    assert!(!orphans.is_empty(), "machines outlive their server");

    world.boot();
    for id in old {
        let rules = world.rules();
        assert!(!rules.contains(id), "rules of an earlier machine are left: {rules}");
        assert!(!world.taps().contains(&format!("fa{id}")), "{:?}", world.taps());
        assert!(!world.path(&format!("state/run/{id}")).exists());
        assert!(world.machines().iter().all(|machine| machine["id"] != id));
    }
    let running = world.namespace.processes();
    assert!(!running.iter().any(|process| orphans.contains(process)), "an orphan runs on: {running:?}");
    let second = world.wait(BOOT, "the second attempt", || {
        let job = world.job(&id);
        (job["state"] == "running").then_some(job)
    });
    assert_eq!(second["attempt"], 2, "{second}");
    assert!(second["reason"].as_str().unwrap().contains("server stopped"), "{second}");
    world.wait(BOOT, "the second attempt's output", || {
        let log = text(&world.cli(&["jobs", "logs", &id]).stdout);
        (log.matches("begun").count() == 2).then_some(())
    });
    world.tell(&id);
    assert_eq!(world.wait_job(&id, &["succeeded"], BOOT)["attempt"], 2);
    assert_eq!(world.wait_job(&queued, &["succeeded"], BOOT)["attempt"], 1);
    assert_eq!(text(&world.cli(&["jobs", "logs", &queued]).stdout), "next\n");
    world.finish();
}

#[test]
fn a_second_server_is_refused_and_harms_nothing() {
    let world = World::start(Setup { pools: pool("default", 1, 1, ""), ..Setup::default() });
    let ready = world.wait_ready("default", 1);

    // The same state: the lock says who holds it.
    let config = world.path("config.yaml");
    let server = env!("CARGO_BIN_EXE_fireactions");
    let second = world.in_namespace(&[server, "server", "--config", config.to_str().unwrap()]);
    assert!(!second.status.success());
    let said = text(&second.stderr);
    assert!(said.contains(&world.server_pid().to_string()), "{said}");

    // A state of its own in the same network namespace: it would take the first one's taps for strays.
    let other = std::fs::read_to_string(&config)
        .unwrap()
        .replace("/state", "/other")
        .replace("api.sock", "other.sock");
    let config = world.path("other.yaml");
    std::fs::write(&config, other).unwrap();
    let second = world.in_namespace(&[server, "server", "--config", config.to_str().unwrap()]);
    assert!(!second.status.success());
    let said = text(&second.stderr);
    assert!(said.contains("another fireactions server runs in this network namespace"), "{said}");

    let job = world.submit(&["--label", "default"], "echo still here");
    let job = world.wait_job(&job, &["succeeded"], BOOT);
    assert_eq!(job["machine"], ready[0]["id"], "the warm machine was left alone");
    world.finish();
}
