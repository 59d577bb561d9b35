//! The host reboots under running jobs: what was in memory is gone, what was on the disk is not.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::{Setup, World, pool, text};

const SOON: Duration = Duration::from_secs(60);

#[test]
fn after_a_reboot_jobs_run_again_and_nothing_of_before_is_missed_or_left() {
    let more = "shutdown: {mode: leave}".to_owned();
    let pools = pool("default", 1, 2, "");
    let mut world = World::start(Setup { pools, more, standin: true, ..Setup::default() });
    let running = world.submit(&[], "echo begun; wait; echo told");
    world.wait_log(&running, "begun", SOON);
    let done = world.submit(&[], "echo done; exit 4");
    world.wait_job(&done, &["failed"], SOON);
    assert!(world.cli(&["pools", "scale", "default", "--max", "1"]).status.success());
    let queued = world.submit(&[], "echo later");
    let before = world.json(&["ps"]);

    // Power goes: no process, network or rule is left, and no file that was not on a disk.
    world.signal_server(Signal::SIGKILL);
    world.server_ended(SOON);
    for (pid, _) in world.all_processes() {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    world.wait(SOON, "all processes to be gone", || world.all_processes().is_empty().then_some(()));
    let gone = "nft flush ruleset; ip link del fireactions0; for tap in $(ip -o link | grep -o 'fam[^:@]*'); do ip link del $tap; done";
    world.in_namespace(&["sh", "-c", gone]);
    assert_eq!((world.rules(), world.taps()), (String::new(), Vec::<String>::new()));

    world.boot();
    let again = world.wait(SOON, "the job to run again", || {
        let job = world.job(&running);
        (job["attempt"] == 2 && job["state"] == "running").then_some(job)
    });
    assert!(again["reason"].as_str().unwrap().contains("attempt 1"), "{again}");
    assert!(
        world.machines().iter().all(|now| before
            .as_array()
            .unwrap()
            .iter()
            .all(|old| old["id"] != now["id"]))
    );
    world.wait(SOON, "the job to listen", || {
        world.cli(&["exec", &running, "--", "tell"]).status.success().then_some(())
    });
    world.wait_job(&running, &["succeeded"], SOON);
    world.wait_job(&queued, &["succeeded"], SOON);
    let kept = world.job(&done);
    assert_eq!((&kept["state"], &kept["outcome"]["code"]), (&"failed".into(), &4.into()), "{kept}");
    assert_eq!(text(&world.cli(&["jobs", "logs", &done]).stdout), "done\n");
    world.finish();
}
