//! Pools as operators change them, and jobs that want another machine than the pool's.

use std::time::Duration;

use crate::world::{BOOT, Setup, World, pool, text};

#[test]
fn pause_resume_and_scale() {
    let mut world = World::start(Setup { pools: pool("default", 1, 2, ""), ..Setup::default() });
    world.wait_ready("default", 1);

    assert!(world.cli(&["pools", "pause", "default"]).status.success());
    world.wait(Duration::from_secs(30), "the idle machine to go", || {
        world.machines().is_empty().then_some(())
    });
    let id = world.submit(&[], "echo ran");
    let shown = text(&world.cli(&["pools", "list"]).stdout);
    assert!(shown.contains("paused"), "{shown}");
    // What an operator changed holds over a restart.
    world.signal_server(nix::sys::signal::Signal::SIGTERM);
    assert!(world.server_ended(Duration::from_secs(30)).success());
    world.boot();
    assert_eq!(world.json(&["pools", "show", "default"])["paused"], true);
    assert_eq!(world.job(&id)["state"], "queued");
    assert!(world.machines().is_empty());
    assert!(world.cli(&["pools", "resume", "default"]).status.success());
    world.wait_job(&id, &["succeeded"], BOOT);

    assert!(world.cli(&["pools", "scale", "default", "--min", "2"]).status.success());
    world.wait_ready("default", 2);
    let output = world.cli(&["pools", "scale", "default", "--min", "3"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("greater than max"), "{}", text(&output.stderr));
    assert!(world.cli(&["pools", "scale", "default", "--min", "1", "--max", "1"]).status.success());
    world.wait(Duration::from_secs(30), "one machine to go", || (world.machines().len() == 1).then_some(()));
    let output = world.cli(&["pools", "pause", "nosuch"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("pools list"), "{}", text(&output.stderr));
    world.finish();
}

#[test]
fn a_job_of_another_shape_gets_a_machine_of_its_own() {
    let world = World::start(Setup { pools: pool("default", 1, 2, ""), ..Setup::default() });
    let warm = world.wait_ready("default", 1).remove(0);
    let script = "echo $(nproc) $(awk '/MemTotal/ { print ($2 > 330000) }' /proc/meminfo)";
    let output = world.cli(&["run", "--memory", "400", "--vcpus", "2", "--", "sh", "-c", script]);
    assert_eq!(text(&output.stdout), "2 1\n", "{}\n{}", text(&output.stderr), world.log());
    let jobs = world.json(&["jobs", "list"]);
    assert_ne!(jobs[0]["machine"], warm["id"]);
    let output = world.cli(&["run", "--", "sh", "-c", script]);
    assert_eq!(text(&output.stdout), "1 0\n", "{}", text(&output.stderr));
    assert_eq!(
        world.json(&["jobs", "list"])[0]["machine"],
        warm["id"],
        "the warm one is for jobs of the pool's shape"
    );

    // What no host could serve says so instead of waiting in silence.
    let id = world.submit(&["--memory", "1000000"], "true");
    world.wait(Duration::from_secs(20), "the pool to say why", || {
        let shown = text(&world.cli(&["pools", "show", "default"]).stdout);
        shown.contains("large").then_some(())
    });
    let id2 = world.submit(&["--label", "nosuch"], "true");
    world.wait(Duration::from_secs(20), "the job to say why", || {
        text(&world.cli(&["jobs", "show", &id2]).stdout).contains("nosuch").then_some(())
    });
    assert!(world.cli(&["jobs", "cancel", &id, &id2]).status.success());
    world.finish();
}

/// As files of other programs have pools: without machines until somebody wants some.
#[test]
fn a_pool_without_a_size_serves_jobs_once_it_is_scaled() {
    let pools = pool("default", 0, 1, "")
        .replace("max_runners: 1", "replicas: 0")
        .replace("    min_runners: 0\n", "");
    let world = World::start(Setup { pools, standin: true, ..Setup::default() });
    let id = world.submit(&[], "true");
    let shown = text(&world.cli(&["jobs", "show", &id]).stdout);
    let waits = shown.lines().find(|line| line.starts_with("Waits for")).expect(&shown);
    assert!(waits.contains("may have no machines"), "{shown}");
    let scaled = world.cli(&["pools", "scale", "default", "--replicas", "1"]);
    assert_eq!(text(&scaled.stdout), "default has 1 to 1 machines now\n", "{}", text(&scaled.stderr));
    world.wait_job(&id, &["succeeded"], BOOT);
    world.finish();
}
