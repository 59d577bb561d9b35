//! Jobs that somebody ends: queued, while a machine boots for them, and from the terminal that started them.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::{BOOT, Setup, UNTIL_TOLD, World, attempts, pool, text};

const SOON: Duration = Duration::from_secs(30);

#[test]
fn jobs_without_a_machine_are_cancelled_at_once() {
    let world = World::start(Setup { pools: pool("default", 0, 1, ""), ..Setup::default() });
    let booting = world.submit(&[], "echo never");
    world.wait(BOOT, "a machine that boots", || {
        world.machines().iter().any(|machine| machine["state"] == "booting").then_some(())
    });
    let said = world.cli(&["jobs", "cancel", &booting]);
    assert_eq!(text(&said.stdout), format!("{booting}: cancelled\n"));
    let job = world.job(&booting);
    assert_eq!((&job["state"], &job["attempt"]), (&"cancelled".into(), &0.into()), "{job}");

    // The machine that was made for it serves the next one.
    let running = world.submit(&[], UNTIL_TOLD);
    world.wait_log(&running, "begun", BOOT);
    let queued = world.submit(&[], "echo never");
    let said = world.cli(&["jobs", "cancel", &queued]);
    assert_eq!(text(&said.stdout), format!("{queued}: cancelled\n"));
    world.tell(&running);
    assert_eq!(attempts(&world.wait_job(&running, &["succeeded"], BOOT)), 1);
    for id in [booting, queued] {
        assert_eq!(world.job(&id)["state"], "cancelled");
        assert_eq!(text(&world.cli(&["jobs", "logs", &id]).stdout), "");
        // Cancelling what is over changes nothing.
        assert!(world.cli(&["jobs", "cancel", &id]).status.success());
    }
    world.finish();
}

/// `fireactions run` as a terminal would start it, once its job has begun.
fn begun(world: &World, script: &str) -> Child {
    let mut command = world.command();
    let mut child = command
        .args(["run", "--", "sh", "-c", script])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "begun\n", "{}", world.log());
    child
}

fn interrupt(child: &Child) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
}

/// Reads standard error up to and with a line that holds `wanted`.
fn read_until(errors: &mut impl BufRead, wanted: &str) -> String {
    let mut all = String::new();
    while !all.contains(wanted) {
        assert_ne!(errors.read_line(&mut all).unwrap(), 0, "standard error ended without '{wanted}': {all}");
    }
    all
}

#[test]
fn ctrl_c_cancels_and_again_detaches() {
    let world = World::start(Setup { pools: pool("default", 1, 1, ""), ..Setup::default() });
    let mut run = begun(&world, "echo begun; sleep 600");
    interrupt(&run);
    let mut said = String::new();
    run.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(130), "{said}\n{}", world.log());
    assert!(said.contains("cancelling") && said.contains("cancelled"), "{said}");
    let jobs = world.json(&["jobs", "list"]);
    assert_eq!((&jobs[0]["state"], &jobs[0]["attempt"]), (&"cancelled".into(), &1.into()));

    // A job that will not be asked keeps its five seconds; the user does not have to.
    let mut run = begun(&world, "trap '' TERM; echo begun; while :; do sleep 1; done");
    let mut errors = BufReader::new(run.stderr.take().unwrap());
    interrupt(&run);
    read_until(&mut errors, "cancelling");
    interrupt(&run);
    let said = read_until(&mut errors, "detached");
    assert!(said.contains("jobs logs -f"), "{said}");
    assert_eq!(run.wait().unwrap().code(), Some(130));
    let id = world.json(&["jobs", "list"])[0]["id"].as_str().unwrap().to_owned();
    world.wait_job(&id, &["cancelled"], SOON);
    assert_eq!(world.json(&["jobs", "list"]).as_array().unwrap().len(), 2);
    world.finish();
}
