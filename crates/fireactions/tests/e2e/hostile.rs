//! Jobs that harm their machine, by accident or on purpose. Each ends with a reason that says what it ran into; the
//! server and the other machines do not notice.

use std::fs;
use std::time::{Duration, Instant};

use fireactions_guest_proto::{Exit, Frame, GuestMsg, JobResult, Kind};
use fireactions_testkit::busybox;
use serde_json::Value;

use crate::driver::on_firecracker;
use crate::world::{BOOT, NO_TEMPLATE, Setup, World, attempts, pool, pool_of, text};

/// The line of `jobs show` that says why.
pub(crate) fn reason_shown(world: &World, job: &str) -> String {
    let shown = text(&world.cli(&["jobs", "show", job]).stdout);
    let line = shown.lines().find_map(|line| line.strip_prefix("Reason"));
    let line = line.unwrap_or_else(|| panic!("no reason: {shown}"));
    line.trim_start_matches(':').trim().to_owned()
}

/// Runs a job to its end and returns it with the line that says why it ended so.
fn run(world: &World, options: &[&str], script: &str, state: &str) -> (Value, String) {
    let id = world.submit(options, script);
    let job = world.wait_job(&id, &[state], BOOT * 2);
    (job, reason_shown(world, &id))
}

#[test]
fn a_job_that_uses_up_its_machine_is_told_what_ran_out() {
    let world = World::start(Setup { pools: pool("default", 1, 2, ""), ..Setup::default() });

    let (job, reason) = run(&world, &[], "dd if=/dev/zero of=/big bs=1M", "failed");
    assert!(
        reason.starts_with("the program returned exit code 1; the scratch disk is full (0 of 2"),
        "{reason}"
    );
    assert_eq!((attempts(&job), &job["outcome"]["code"]), (1, &1.into()), "not tried again: {job}");

    let bomb = "bomb() { while :; do bomb & done; }; bomb & sleep 10; exit 9";
    let (job, reason) = run(&world, &[], bomb, "failed");
    assert!(reason.contains("; the job reached its limit of "), "{reason}");
    assert!(reason.contains("processes and threads; "), "{reason}");
    assert_eq!(attempts(&job), 1, "the machine survives it: {job}");

    let (job, reason) = run(&world, &[], "exec awk 'BEGIN { s = \"x\"; while (1) s = s s }'", "failed");
    assert!(
        reason.starts_with("signal 9 ended the program; memory: 1 process was killed for memory"),
        "{reason}"
    );
    assert_eq!(job["usage"]["oom_kills"], 1, "{job}");
    world.finish();
}

fn resident_kib(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_job_that_floods_its_output_and_its_console_ends_at_its_deadline() {
    let world = World::start(Setup { pools: pool("default", 1, 1, ""), ..Setup::default() });
    world.wait_ready("default", 1);
    let before = resident_kib(world.server_pid());
    let flood = "cat /dev/zero >/dev/ttyS0 & yes 'never the end' >&2 & exec yes";
    let (job, reason) = run(&world, &["--timeout", "15s"], flood, "timed_out");
    assert!(reason.starts_with("the job was killed at its deadline"), "{reason}");
    let grown = resident_kib(world.server_pid()).saturating_sub(before);
    assert!(grown < 64 << 10, "the server grew by {grown} KiB");
    // One attempt's log holds 64 MiB and a note.
    let id = job["id"].as_str().unwrap();
    let size: u64 = fs::read_dir(world.path("state/jobs").join(id))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(size > 1 << 20 && size < 80 << 20, "{size}");
    world.finish();
}

/// Shell that writes these bytes.
fn printf(bytes: &[u8]) -> String {
    let escaped: Vec<String> = bytes.iter().map(|byte| format!("\\{byte:03o}")).collect();
    format!("printf '{}'", escaped.concat())
}

#[test]
fn a_job_that_speaks_for_the_agent_loses_its_machine_and_gains_nothing() {
    // As an ordinary process the agent can be killed by root, and its port taken over.
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("image.tar");
    let init = b"#!/bin/sh\nexec /bin/init\n";
    fs::write(&archive, busybox::archive(&[busybox::layer(), busybox::layer_of("sbin/init", init)])).unwrap();
    let image = format!("oci-archive:{}", archive.display());
    let pools = pool_of("default", 0, 1, &image, &format!("    init: image\n{NO_TEMPLATE}"));
    let world = World::start(Setup { pools, more: "local: {attempts: 1}".into(), ..Setup::default() });

    let lie = GuestMsg::Exited { run: "j".into(), end: 0, result: JobResult::new(Exit::Code(0)) };
    let body = serde_json::to_vec(&lie).unwrap();
    // It cannot know the session's number: the host told that to the agent alone.
    let frame = Frame { kind: Kind::Control, channel: 0, stream: 0, nonce: 1, body };
    let script = format!(
        "for p in /proc/[0-9]*; do case $(tr '\\0' ' ' <$p/cmdline) in @fireactions-agent*) kill -9 ${{p#/proc/}};; esac; done
         until {} >/dev/vport0p1; do sleep 0.1; done; sleep 600",
        printf(&[&[0][..], &frame.encode()].concat())
    );
    let since = Instant::now();
    let (job, reason) = run(&world, &[], &script, "lost");
    // The port is QEMU's. Between it and the stand-in for Firecracker the lie may get lost with the agent's connection; then
    // it is the silence that tells.
    let silent = on_firecracker() && reason.contains("does not answer any more");
    assert!(reason.contains("broke the protocol (") || silent, "{reason}");
    assert!(since.elapsed() < Duration::from_secs(150), "found at once, not by two silences");
    assert_ne!(job["outcome"]["outcome"], "exited", "{job}");
    world.finish();
}
