//! Images that were made for hostinger's fireactions: systemd, no user, the runner in /opt/runner, and a service that reads the
//! runner's JIT configuration from the metadata service and starts it. The service's unit and what it asks are theirs
//! (`fireactions-images`, `ubuntu24.04`); its program is a script that does as `fireactions runner` does. Of the images of thpham's
//! fork, which have cloud-init too, the data source is theirs.

use std::fs;
use std::time::Duration;

use fireactions_testkit::github::{Job, JobRequest, JobStatus, runner};
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
/// Counts its starts for the job.
const BEGIN: &str = "#!/bin/sh\necho start >>/run/starts\nat=http://169.254.169.254\n";
/// What theirs asks: V2.
const WITH_TOKEN: &str = r#"
token=$(curl -sS -f -m 5 -X PUT -H "X-Metadata-Token-TTL-Seconds: 21600" $at/latest/api/token) || exit 1
told=$(curl -sS -f -m 5 -H "Accept: application/json" -H "X-Metadata-Token: $token" $at/latest/meta-data/fireactions) || exit 1
"#;
/// What a patched one asks: V1.
const WITHOUT_TOKEN: &str = r#"
told=$(curl -sS -f -m 5 -H "Accept: application/json" $at/latest/meta-data/fireactions) || exit 1
"#;
const RUN: &str = r#"
config=$(printf %s "$told" | sed -n 's/.*"runner_jit_config":"\([^"]*\)".*/\1/p')
[ -n "$config" ] || { echo "mmds: runner_jit_config: not found" >&2; exit 1; }
cd /opt/runner
exec setpriv --reuid runner --regid runner --init-groups ./run.sh --jitconfig "$config"
"#;
/// As the images of thpham's fork have it; only the module that the test looks at.
const CLOUD: &str = "datasource_list: [Ec2]\ndatasource:\n  Ec2: {metadata_urls: ['http://169.254.169.254'], imdsv2_enable: false, strict_id: false}\n\
    network: {config: disabled}\ncloud_init_modules: [write-files]\ncloud_config_modules: []\ncloud_final_modules: []\n";
/// The number of the instance is what that fork's configurations give cloud-init.
const FOR_CLOUD: &str = "      mmds_version: V1\n      metadata: {instance-id: i-fireactions-cloud}\n      user_data: |\n        #cloud-config\n        \
    write_files: [{path: /run/told, content: \"by user-data\\n\"}]\n";

/// An image with these packages more, whose service asks for its credential so.
fn image(dir: &std::path::Path, more: &[&str], asks: &str) -> String {
    let base = debian::image_with_user(&[&["systemd-sysv", "curl", "wget"], more].concat(), "runner");
    let program = [BEGIN, asks, RUN].concat();
    let layers = [
        busybox::layer_of("etc/systemd/system/fireactions.service", UNIT.as_bytes()),
        busybox::layer_of("etc/systemd/system/multi-user.target.d/fireactions.conf", ENABLED.as_bytes()),
        busybox::layer_of("usr/bin/fireactions", program.as_bytes()),
        busybox::layer_of("etc/cloud/cloud.cfg.d/99-fireactions.cfg", CLOUD.as_bytes()),
        // Masked: the tests' kernel has no serial port for it on every driver.
        busybox::layer_of("etc/systemd/system/serial-getty@.service", b""),
        busybox::layer_of_user("opt/runner/run.sh", runner::SCRIPT.as_bytes(), 1000),
    ];
    let archive = dir.join(format!("image-{}.tar", more.len()));
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

/// Who runs the job, where, whether systemd runs, and in which machine. That there is one runner only, its forge knows: a credential
/// that is used twice is told.
const WHO: &str = "id -un; pwd; cat /proc/1/comm; cat /proc/sys/kernel/hostname";
/// First waits until the image's service was started anew twice. It would be the machine's end if systemd took that for a success.
const STARTED_ANEW: &str =
    "starts=0; until [ $starts -ge 3 ]; do sleep 1; starts=$(cat /run/starts 2>/dev/null | wc -l); done\n";
/// First waits for cloud-init.
const TOLD: &str = "until [ -s /run/told ]; do sleep 1; done; cat /run/told\n";

/// The systems under test, side by side.
struct Existing {
    world: World,
    octo: Octo,
}

impl Existing {
    /// Queues a job, and waits for its end and that of its machine, which must both be well. Returns what it said, without the name of
    /// its machine, and how that was started.
    fn run(&self, label: &str, script: &str) -> (String, String) {
        let Self { world, octo } = self;
        let id = octo.fake.queue_job(JobRequest::new("acme/widgets", &[label], script).named(label));
        let mut started = String::new();
        let job: Job = world.wait(SYSTEMD, "the job to end", || {
            let machine = world.machines().into_iter().find(|machine| machine["pool"] == label);
            if let Some(how) = machine.as_ref().and_then(|machine| machine["started"].as_str()) {
                how.clone_into(&mut started);
            }
            let job = octo.fake.job(id);
            (job.status == JobStatus::Completed).then_some(job)
        });
        let well = (job.conclusion.as_deref(), job.runs());
        assert_eq!(well, (Some("success"), 1), "{job:#?}\n{}", world.log());
        assert_eq!(octo.fake.violations(), Vec::<String>::new());
        // Its row ends well, too, and with it its machine.
        world.wait(BOOT, "the row of the job to be final", || {
            world.json(&["jobs", "list", "--active"]).as_array().unwrap().is_empty().then_some(())
        });
        let rows = world.json(&["jobs", "list"]);
        let rows = rows.as_array().unwrap();
        assert!(rows.iter().all(|row| row["state"] == "succeeded"), "{rows:?}\n{}", world.log());
        world.wait(BOOT, "the machine to go", || world.machines().is_empty().then_some(()));
        let (said, machine) = job.log.trim_end().rsplit_once('\n').unwrap();
        assert!(rows.iter().any(|row| row["machine"] == machine), "{machine}: {rows:?}");
        (format!("{said}\n"), started)
    }
}

#[test]
fn an_image_of_the_systems_before_starts_its_own_runner_or_leaves_it_to_the_agent() {
    let dir = tempfile::tempdir().unwrap();
    let theirs = image(dir.path(), &[], WITH_TOKEN);
    let octo = Octo::new("127.0.0.1", 1);
    let mut pools = pool("agents", &theirs, "", "    start: boot\n");
    if on_firecracker() {
        let by_image = "      started_by: image\n";
        pools += &pool("theirs", &theirs, by_image, "    init: image\n");
        let cloud =
            pool("cloud", &image(dir.path(), &["cloud-init"], WITHOUT_TOKEN), by_image, "    init: image\n");
        pools += &cloud.replacen("    firecracker:\n", &format!("    firecracker:\n{FOR_CLOUD}"), 1);
    } else {
        pools += &pool("beside", &theirs, "", "    init: image\n    start: boot\n");
    }
    let world = World::start(Setup { pools, more: octo.more.clone(), ..Setup::default() });
    github::open(&octo.fake, &world);
    let existing = Existing { world, octo };
    let by = |init: &str| format!("runner\n/opt/runner/_work/widgets/widgets\n{init}\n");
    let boot = "boot".to_owned();

    assert_eq!(existing.run("agents", WHO), (by("init"), boot.clone()));
    assert!(existing.world.log().contains("as user"), "{}", existing.world.log());
    if !on_firecracker() {
        let script = [STARTED_ANEW, WHO].concat();
        assert_eq!(existing.run("beside", &script), (by("systemd"), boot));
        println!(
            "not run on this driver: what a service of the image reads, for there is no metadata service"
        );
        return existing.world.finish();
    }

    assert_eq!(existing.run("theirs", WHO), (by("systemd"), boot.clone()));
    // Its service was started anew again and again while the machine was made that is frozen.
    existing.world.wait(SYSTEMD, "the template", || {
        let log = fs::read_to_string(existing.world.path("server.log")).unwrap();
        assert!(!log.contains("no template could be made"), "{log}");
        log.contains("template made").then_some(())
    });
    assert_eq!(existing.run("theirs", WHO), (by("systemd"), "snapshot".to_owned()));

    let (said, started) = existing.run("cloud", &[TOLD, WHO].concat());
    assert_eq!((said, started), (format!("by user-data\n{}", by("systemd")), boot));
    existing.world.finish();
}
