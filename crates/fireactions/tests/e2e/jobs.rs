//! What happens to jobs that do this and that.

use std::time::Duration;

use crate::world::{BOOT, Setup, World, attempts, pool, text};

/// What existing configuration files give every guest. `noapic` alone keeps a guest of QEMU's from booting.
const PUBLISHED_ARGS: &str =
    "      kernel_args: console=ttyS0 noapic reboot=k panic=1 pci=off nomodules rw loglevel=5\n";

#[test]
fn exit_codes_and_output_come_through() {
    let pools = pool("default", 1, 2, PUBLISHED_ARGS);
    let world = World::start(Setup { pools, ..Setup::default() });
    let output = world.cli(&["run", "--", "sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!(text(&output.stdout), "out\n");
    assert!(text(&output.stderr).contains("err\n"), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(3), "{}\n{}", text(&output.stderr), world.log());

    let output =
        world.cli(&["run", "--env", "A=b c", "--", "sh", "-c", "echo $A $FROM_IMAGE $(id -u) $(hostname)"]);
    let line = text(&output.stdout);
    assert!(line.starts_with("b c yes 0 m"), "{line:?} {}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(0));

    let cmdline = text(&world.cli(&["run", "--", "cat", "/proc/cmdline"]).stdout);
    let words: Vec<&str> = cmdline.split_whitespace().collect();
    assert!(words.contains(&"loglevel=5"), "{cmdline}");
    for word in ["noapic", "panic=1", "nomodules", "rw"] {
        assert!(!words.contains(&word), "{word} in {cmdline}");
    }
    world.finish();
}

#[test]
fn a_job_that_takes_too_long_is_killed() {
    let world = World::start(Setup::default());
    let output = world.cli(&["run", "--timeout", "2s", "--", "sh", "-c", "echo begun; sleep 600"]);
    assert_eq!(text(&output.stdout), "begun\n");
    assert_eq!(output.status.code(), Some(124), "{}\n{}", text(&output.stderr), world.log());
    world.finish();
}

#[test]
fn a_running_job_can_be_cancelled() {
    let world = World::start(Setup::default());
    let id = world.submit(&[], "echo begun; sleep 600");
    world.wait_log(&id, "begun", BOOT);
    assert!(world.cli(&["jobs", "cancel", &id]).status.success());
    let job = world.wait_job(&id, &["cancelled"], Duration::from_secs(20));
    assert_eq!(attempts(&job), 1, "{job}");
    assert_eq!(text(&world.cli(&["jobs", "logs", &id]).stdout), "begun\n");
    world.finish();
}

#[test]
fn a_job_that_eats_all_memory_is_told_so() {
    let world = World::start(Setup::default());
    // Small pieces: a large one would be refused, not killed for.
    let eat = "echo begun; awk 'BEGIN { while (1) a[i++] = \"0123456789012345678901234567890123456789\" }'; exit $?";
    let output = world.cli(&["run", "--name", "glutton", "--", "sh", "-c", eat]);
    assert_eq!(text(&output.stdout), "begun\n");
    // 128 + SIGKILL, as the shell has it.
    assert_eq!(output.status.code(), Some(137), "{}\n{}", text(&output.stderr), world.log());
    assert!(text(&output.stderr).contains("killed for memory"), "{}", text(&output.stderr));

    let jobs = world.json(&["jobs", "list"]);
    let job = &jobs[0];
    assert_eq!(
        (&job["state"], attempts(job)),
        (&"failed".into(), 1),
        "a job that ended is not tried again: {job}"
    );
    assert_eq!(job["usage"]["oom_kills"], 1, "{job}");
    let shown = text(&world.cli(&["jobs", "show", job["id"].as_str().unwrap()]).stdout);
    assert!(shown.contains("memory"), "{shown}");
    let kills = shown.lines().find(|line| line.starts_with("OOM kills")).expect(&shown);
    assert!(kills.ends_with('1'), "{shown}");
    world.finish();
}
