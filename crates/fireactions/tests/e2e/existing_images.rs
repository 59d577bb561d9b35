//! Images that were made for hostinger's fireactions: systemd, no user, the runner in /opt/runner, and a service that reads the
//! runner's JIT configuration from the metadata service and starts it. The service's unit and what it asks are theirs
//! (`fireactions-images`, `ubuntu24.04`); its program is a script that does as `fireactions runner` does.

use std::fs;
use std::time::Duration;

use fireactions_testkit::github::{Job, JobId, JobRequest, JobStatus, runner};
use fireactions_testkit::{busybox, debian};

use crate::driver::on_firecracker;
use crate::github::{self, Octo};
use crate::world::{BOOT, Setup, World, pool_of};

/// systemd comes up in seconds; under emulation beside other tests it may take a while.
const SYSTEMD: Duration = Duration::from_secs(400);

const UNIT: &str = "[Unit]\nDescription=Fireactions\nAfter=network.target\nSuccessAction=reboot\n\n[Service]\nType=simple\nUser=root\n\
    ExecStart=/usr/bin/fireactions runner --log-level=info\nRestart=on-failure\nRestartSec=5s\n";
/// In the place of `systemctl enable`.
const ENABLED: &str = "[Unit]\nWants=fireactions.service\n";
const PROGRAM: &str = r#"#!/bin/sh
at=http://169.254.169.254
token=$(curl -sS -f -m 5 -X PUT -H "X-Metadata-Token-TTL-Seconds: 21600" $at/latest/api/token) || exit 1
told=$(curl -sS -f -m 5 -H "Accept: application/json" -H "X-Metadata-Token: $token" $at/latest/meta-data/fireactions) || exit 1
config=$(printf %s "$told" | sed -n 's/.*"runner_jit_config":"\([^"]*\)".*/\1/p')
[ -n "$config" ] || { echo "mmds: runner_jit_config: not found" >&2; exit 1; }
cd /opt/runner
exec setpriv --reuid runner --regid runner --init-groups ./run.sh --jitconfig "$config"
"#;

fn image(dir: &std::path::Path) -> String {
    let base = debian::image_with_user(&["systemd-sysv", "curl", "wget"], "runner");
    let layers = [
        busybox::layer_of("etc/systemd/system/fireactions.service", UNIT.as_bytes()),
        busybox::layer_of("etc/systemd/system/multi-user.target.d/fireactions.conf", ENABLED.as_bytes()),
        busybox::layer_of("usr/bin/fireactions", PROGRAM.as_bytes()),
        // Masked: without udev there is no device to wait for.
        busybox::layer_of("etc/systemd/system/serial-getty@.service", b""),
        busybox::layer_of_user("opt/runner/run.sh", runner::SCRIPT.as_bytes(), 1000),
    ];
    let archive = dir.join("image.tar");
    fs::write(&archive, debian::with_layers(&base, &layers)).unwrap();
    format!("oci-archive:{}", archive.display())
}

/// A pool of the organization's runners with this label; `runner` and `pool` are more keys.
fn pool(name: &str, image: &str, runner: &str, pool: &str) -> String {
    let network = format!("    network: {{host_ports: [tcp/{}]}}\n", github::PORT);
    let labels = format!("labels: [{name}]");
    let more = format!("{labels}\n      organization: acme\n      scale_set: false\n{runner}");
    let pool = pool_of(name, 0, 1, image, &format!("{pool}{network}")).replacen(&labels, more.trim_end(), 1);
    pool.replace("mem_size_mib: 256", "mem_size_mib: 512")
}

/// Who runs the job, where, and whether systemd runs. That there is one runner only, its forge knows: a credential that is used twice
/// is told.
const WHO: &str = "id -un; pwd; cat /proc/1/comm";

fn done(world: &World, octo: &Octo, id: JobId) -> Job {
    world.wait(SYSTEMD, "the job to end", || {
        let job = octo.fake.job(id);
        (job.status == JobStatus::Completed).then_some(job)
    })
}

fn all_well(world: &World, octo: &Octo, job: &Job) {
    let well = (job.conclusion.as_deref(), job.runs());
    assert_eq!(well, (Some("success"), 1), "{job:#?}\n{}", world.log());
    assert_eq!(octo.fake.violations(), Vec::<String>::new());
    // Its row ends well, too, and with it its machine.
    world.wait(BOOT, "the row of the job to be final", || {
        world.json(&["jobs", "list", "--active"]).as_array().unwrap().is_empty().then_some(())
    });
    let rows = world.json(&["jobs", "list"]);
    assert!(
        rows.as_array().unwrap().iter().all(|row| row["state"] == "succeeded"),
        "{rows}\n{}",
        world.log()
    );
    world.wait(BOOT, "the machine to go", || world.machines().is_empty().then_some(()));
}

#[test]
fn an_image_of_the_systems_before_starts_its_own_runner_or_leaves_it_to_the_agent() {
    let dir = tempfile::tempdir().unwrap();
    let image = image(dir.path());
    let octo = Octo::new("127.0.0.1", 1);
    let mut pools = pool("agents", &image, "", "");
    if on_firecracker() {
        pools += &pool("theirs", &image, "      started_by: image\n", "    init: image\n");
    }
    let world = World::start(Setup { pools, more: octo.more.clone(), ..Setup::default() });
    github::open(&octo.fake, &world);
    let queue =
        |label: &str| octo.fake.queue_job(JobRequest::new("acme/widgets", &[label], WHO).named(label));
    let workspace = "/opt/runner/_work/widgets/widgets";

    let job = done(&world, &octo, queue("agents"));
    all_well(&world, &octo, &job);
    assert_eq!(job.log, format!("runner\n{workspace}\ninit\n"), "{job:#?}");
    assert!(world.log().contains("as user"), "{}", world.log());
    if !on_firecracker() {
        println!(
            "not run on this driver: what a service of the image reads, for there is no metadata service"
        );
        world.finish();
        return;
    }

    let job = done(&world, &octo, queue("theirs"));
    all_well(&world, &octo, &job);
    assert_eq!(job.log, format!("runner\n{workspace}\nsystemd\n"), "{job:#?}");
    world.finish();
}
