//! Guests and VMMs that die: their jobs are tried once more, visibly, and the pool fills up again.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::{BOOT, Setup, UNTIL_TOLD, World, pool, text};

/// Two machines that die, and the pool's patience between them.
const TWICE: Duration = Duration::from_secs(180);

/// Runs a job that takes its machine down each time.
fn lost_twice(world: &World, script: &str, why: &str) {
    let output = world.cli(&["run", "--", "sh", "-c", script]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{said}\n{}", world.log());
    assert!(said.contains("attempt 2 starts on machine"), "the retry is seen by who waits: {said}");
    assert!(said.contains("lost") && said.contains(why), "{said}");

    let jobs = world.json(&["jobs", "list"]);
    let job = &jobs[0];
    assert_eq!((&job["state"], &job["attempt"]), (&"lost".into(), &2.into()), "{job}");
    let shown = text(&world.cli(&["jobs", "show", job["id"].as_str().unwrap()]).stdout);
    assert!(shown.contains("lost") && shown.contains(why), "{shown}");
}

#[test]
fn a_job_whose_guest_dies_is_tried_once_more() {
    let world = World::start(Setup { pools: pool("default", 1, 2, ""), ..Setup::default() });
    lost_twice(&world, "echo c > /proc/sysrq-trigger; sleep 600", "panic");
    // The agent is PID 1: without it there is no guest. Its code is overwritten, since nobody may kill PID 1.
    let crash = "addr=$(grep r-xp /proc/1/maps | head -n 1 | cut -d - -f 1); \
                 dd if=/dev/zero of=/proc/1/mem bs=4096 seek=$((0x$addr / 4096)) count=400 conv=notrunc; sleep 600";
    lost_twice(&world, crash, "panic");
    world.wait_ready("default", 1);
    world.finish();
}

#[test]
fn a_killed_vmm_is_replaced() {
    let world = World::start(Setup { pools: pool("default", 1, 2, ""), ..Setup::default() });
    let idle = world.wait_ready("default", 1).remove(0);
    kill_vmm(&idle);
    let replaced = world.wait(TWICE, "another machine", || {
        let machines = world.machines();
        let other = machines
            .iter()
            .find(|machine| machine["id"] != idle["id"] && machine["state"] == "ready")
            .cloned();
        other.filter(|_| machines.iter().all(|machine| machine["id"] != idle["id"]))
    });

    let id = world.submit(&[], UNTIL_TOLD);
    let first = world.wait_job(&id, &["running"], BOOT);
    assert_eq!(first["machine"], replaced["id"], "the machine that was ready takes the job");
    world.wait_log(&id, "begun", BOOT);
    kill_vmm(&world.json(&["ps"]).as_array().unwrap().iter().find(|m| m["job"] == *id).unwrap().clone());
    let second = world.wait(TWICE, "the second attempt", || {
        let job = world.job(&id);
        (job["attempt"] == 2 && job["state"] == "running").then_some(job)
    });
    assert_ne!(second["machine"], first["machine"]);
    let reason = second["reason"].as_str().unwrap();
    assert!(reason.contains("signal 9"), "{reason}");
    world.wait(BOOT, "the second attempt's output", || {
        let log = text(&world.cli(&["jobs", "logs", &id]).stdout);
        (log.matches("begun").count() == 2).then_some(())
    });
    world.tell(&id);
    assert_eq!(world.wait_job(&id, &["succeeded"], BOOT)["attempt"], 2);
    world.wait_ready("default", 1);
    world.finish();
}

fn kill_vmm(machine: &serde_json::Value) {
    let pid = machine["pid"].as_i64().expect("a machine with a VMM process");
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
}
