//! Machines that hang: in their VMM, before their agent's first word, and after it. Each is given up within its
//! deadline, and the reason says what was seen.

use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use fireactions_testkit::busybox;

use crate::hostile::reason_shown;
use crate::world::{BOOT, NO_TEMPLATE, Setup, UNTIL_TOLD, World, pool, pool_of, text};

/// Short, but a guest on a busy host must not be taken for a dead one.
pub(crate) const SILENCE: &str = "    deadlines: {silence: 12s}\n";

/// Within this a silent machine is found, looked at and undone.
const FOUND: Duration = Duration::from_secs(60);

fn stop_vmm(machine: &Value) {
    let pid = machine["pid"].as_i64().expect("a machine with a VMM process");
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGSTOP).unwrap();
}

#[test]
fn a_stopped_vmm_is_given_up_with_its_job_and_without() {
    let setup = Setup {
        pools: pool("default", 1, 1, SILENCE),
        more: "local: {attempts: 1}".into(),
        ..Setup::default()
    };
    let world = World::start(setup);
    let idle = world.wait_ready("default", 1).remove(0);
    stop_vmm(&idle);
    world.wait(FOUND, "the stopped machine to go", || {
        world.machines().iter().all(|machine| machine["id"] != idle["id"]).then_some(())
    });
    let log = fs::read_to_string(world.path("server.log")).unwrap();
    let why = format!("its VMM process {} is stopped by a signal (SIGSTOP)", idle["pid"]);
    assert!(log.contains(&why), "{}", world.log());

    let id = world.submit(&[], UNTIL_TOLD);
    world.wait_log(&id, "begun", BOOT);
    let busy = world.machines().into_iter().find(|machine| machine["job"] == *id).unwrap();
    stop_vmm(&busy);
    let job = world.wait_job(&id, &["lost"], FOUND);
    let reason = reason_shown(&world, &id);
    assert!(reason.contains("the guest's agent does not answer any more"), "{reason}");
    assert!(reason.contains(&format!("its VMM process {} is stopped", busy["pid"])), "{reason}");
    assert_eq!(job["autopsy"]["state"], "busy", "{job}");
    world.wait_ready("default", 1);
    world.finish();
}

#[test]
fn a_stopped_vmm_does_not_outlive_its_jobs_deadline() {
    let world = World::start(Setup { pools: pool("default", 1, 1, ""), ..Setup::default() });
    world.wait_ready("default", 1);
    let id = world.submit(&["--timeout", "8s"], UNTIL_TOLD);
    world.wait_log(&id, "begun", BOOT);
    stop_vmm(&world.machines().into_iter().find(|machine| machine["job"] == *id).unwrap());
    world.wait_job(&id, &["timed_out"], FOUND);
    let reason = reason_shown(&world, &id);
    assert!(
        reason.starts_with("the job was killed at its deadline; the guest did not end the program"),
        "{reason}"
    );
    assert!(reason.contains("is stopped by a signal (SIGSTOP)"), "{reason}");
    world.finish();
}

/// Waits until a queued job says this of what it waits for.
fn waits_for(world: &World, job: &str, wanted: &str) -> String {
    world.wait(BOOT, &format!("job {job} to wait for '{wanted}'"), || {
        let shown = text(&world.cli(&["jobs", "show", job]).stdout);
        let line = shown.lines().find_map(|line| line.strip_prefix("Waits for"))?;
        line.contains(wanted).then(|| line.to_owned())
    })
}

#[test]
fn a_guest_that_never_dials_is_given_up_with_its_last_words() {
    // The kernel finds nothing to start, and waits for ever for a disk that never comes.
    let more = "      kernel_args: rdinit=/nonexistent root=/dev/nowhere rootwait loglevel=7\n    deadlines: {boot: 25s}\n";
    let pools = pool("default", 0, 1, &format!("{more}{NO_TEMPLATE}"));
    let world = World::start(Setup { pools, ..Setup::default() });
    let id = world.submit(&[], "true");
    let why = waits_for(&world, &id, "the guest's agent did not speak within 25s");
    assert!(why.contains("Waiting for root device"), "its console is shown: {why}");
    assert!(world.cli(&["jobs", "cancel", &id]).status.success());
    world.finish();
}

/// An image whose init is this script.
fn image_with_init(dir: &std::path::Path, init: &str) -> String {
    let archive = dir.join("image.tar");
    let layers = [busybox::layer(), busybox::layer_of("sbin/init", init.as_bytes())];
    fs::write(&archive, busybox::archive(&layers)).unwrap();
    format!("oci-archive:{}", archive.display())
}

#[test]
fn a_guest_whose_agent_is_stopped_is_given_up_with_its_job() {
    let dir = tempfile::tempdir().unwrap();
    let image = image_with_init(dir.path(), "#!/bin/sh\nexec /bin/init\n");
    let pools = pool_of("default", 0, 1, &image, &format!("    init: image\n{SILENCE}{NO_TEMPLATE}"));
    let world = World::start(Setup { pools, more: "local: {attempts: 1}".into(), ..Setup::default() });
    // It was started as /proc/self/exe. Nobody can stop PID 1; beside the image's own init it is a process like others.
    let id = world.submit(&[], "echo begun; killall -STOP exe; sleep 600");
    let job = world.wait_job(&id, &["lost"], BOOT);
    let reason = reason_shown(&world, &id);
    assert!(reason.contains("the guest's agent does not answer any more"), "{reason}");
    assert!(!reason.contains("its VMM process"), "the VMM is well: {reason}");
    assert_eq!(job["autopsy"]["state"], "busy", "{job}");
    world.finish();
}

/// Before its first word, and after it.
#[test]
fn a_guest_that_falls_silent_before_it_has_a_job_is_given_up() {
    let more = "      kernel_args: standin.silent\n    deadlines: {boot: 2s}\n";
    let world = World::start(Setup { pools: pool("default", 0, 1, more), standin: true, ..Setup::default() });
    let id = world.submit(&[], "true");
    waits_for(&world, &id, "the guest's agent did not speak within 2s");
    assert!(world.cli(&["jobs", "cancel", &id]).status.success());
    world.finish();
}

#[test]
fn a_guest_that_reboots_again_and_again_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let image = image_with_init(dir.path(), "#!/bin/sh\necho rebooting again >/dev/console\nreboot -f\n");
    let looping = pool_of("loop", 1, 1, &image, &format!("    init: image\n{NO_TEMPLATE}"));
    let pools = looping + &pool("default", 0, 1, "");
    let world = World::start(Setup { pools, ..Setup::default() });
    let waiting = world.submit(&["--label", "loop"], "sleep 600");
    // A guest that is slow to reboot is ready for a moment, and then takes the job down with it.
    world.wait(BOOT, "the job to say what is wrong with its machine", || {
        let job = world.job(&waiting);
        format!("{} {}", job["reason"], job["waiting"]).contains("the guest rebooted").then_some(())
    });

    // A job that does so is lost when its tries are used up.
    let id = world.submit(&["--label", "default"], "reboot -f; sleep 600");
    let job = world.wait_job(&id, &["lost"], BOOT * 2);
    assert_eq!(job["attempt"], 2, "{job}");
    let reason = reason_shown(&world, &id);
    assert!(
        reason.starts_with(
            "attempt 2 of 2 was lost: the VMM process ended under the job: exit code 0 (guest-reset)"
        ),
        "{reason}"
    );
    // It may be lost already, by the slow ones.
    world.cli(&["jobs", "cancel", &waiting]);
    world.wait_job(&waiting, &["cancelled", "lost"], BOOT);
    world.finish();
}
