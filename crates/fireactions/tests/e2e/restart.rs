//! Two servers where there may be one, and none where there was one.

use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::world::{BOOT, Setup, World, pool, text};

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

    let job = world.submit(&["--label", "default"], "echo still here");
    let job = world.wait_job(&job, &["succeeded"], BOOT);
    assert_eq!(job["machine"], ready[0]["id"], "the warm machine was left alone");
    world.finish();
}

/// Who waits for a job in a terminal does not have to know that its server was started again meanwhile.
#[test]
fn run_and_logs_go_on_over_a_crash_and_a_stop_of_the_server() {
    let more = "shutdown: {mode: leave}".to_owned();
    let pools = pool("default", 0, 1, "");
    let mut world = World::start(Setup { pools, more, standin: true, ..Setup::default() });
    let mut run = world.command();
    let run = run.args(["run", "--name", "patient", "--", "sh", "-c", "echo begun; wait; echo told; exit 6"]);
    let run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let job = world.wait(BOOT, "the job", || {
        let jobs = world.json(&["jobs", "list"]);
        jobs[0]["id"].as_str().map(str::to_owned)
    });
    world.wait_log(&job, "begun", BOOT);
    let mut logs = world.command();
    let logs = logs.args(["jobs", "logs", "-f", &job]);
    let logs = logs.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();

    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        world.signal_server(signal);
        world.server_ended(Duration::from_secs(60));
        world.boot();
    }
    world.wait(BOOT, "the job to listen", || {
        world.cli(&["exec", &job, "--", "tell"]).status.success().then_some(())
    });
    let run = run.wait_with_output().unwrap();
    assert_eq!((run.status.code(), text(&run.stdout).as_str()), (Some(6), "begun\ntold\n"), "{run:?}");
    let logs = logs.wait_with_output().unwrap();
    assert_eq!(text(&logs.stdout), "begun\ntold\n", "{logs:?}");
    world.finish();
}
