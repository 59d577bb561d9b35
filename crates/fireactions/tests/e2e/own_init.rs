//! Machines whose PID 1 is the image's own init, with the agent as an ordinary process beside it.

use std::fs;

use fireactions_testkit::busybox;

use crate::hung::SILENCE;
use crate::world::{BOOT, Setup, World, pool_of, text};

#[test]
fn a_job_beside_the_images_own_init() {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("image.tar");
    let init = b"#!/bin/sh\necho the image was here >/tmp/init\nexec /bin/init\n";
    fs::write(&archive, busybox::archive(&[busybox::layer(), busybox::layer_of("sbin/init", init)])).unwrap();
    let image = format!("oci-archive:{}", archive.display());
    let pools = pool_of("default", 1, 1, &image, &format!("    init: image\n{SILENCE}"));
    let world = World::start(Setup { pools, more: "local: {attempts: 1}".into(), ..Setup::default() });

    let output =
        world.cli(&["run", "--", "sh", "-c", "cat /tmp/init; tr '\\0' ' ' </proc/1/cmdline; echo; exit 6"]);
    let said = text(&output.stdout);
    assert!(
        said.starts_with("the image was here\n") && said.contains("init"),
        "{said}\n{}",
        text(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(6), "{}\n{}", text(&output.stderr), world.log());

    // Here an agent can be killed, which is told by its silence alone. The machine is no use without one, nor is its job.
    let kill = "for p in /proc/[0-9]*; do case $(tr '\\0' ' ' <$p/cmdline) in *fireactions-agent*) kill -9 ${p#/proc/};; esac; done; sleep 900";
    let id = world.submit(&[], kill);
    let job = world.wait_job(&id, &["lost"], BOOT);
    assert_eq!(job["attempt"], 1, "the number of attempts is configured: {job}");
    assert!(job["reason"].as_str().unwrap().contains("agent"), "{job}");
    world.wait_ready("default", 1);
    world.finish();
}
