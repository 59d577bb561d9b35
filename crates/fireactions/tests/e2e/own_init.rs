//! Machines whose PID 1 is the image's own init, with the agent as an ordinary process beside it: the first one boots, and
//! the next ones are clones of one that was frozen once that init had come up.

use std::fs;

use fireactions_testkit::busybox;

use crate::hung::SILENCE;
use crate::world::{BOOT, Setup, World, pool_of, text};

const INIT: &str = "#!/bin/sh\necho the image was here >/tmp/init\nexec /bin/init\n";
const INITTAB: &str = "::sysinit:/etc/rc\n::respawn:/bin/httpd -f -p 8080 -h /www\n";
/// What an image does at its first start. It has one SSH host key, and makes another.
const RC: &str = "#!/bin/sh
mkdir -p /www /run/systemd/netif/leases /var/lib/dbus
echo page >/www/page
echo lease >/run/systemd/netif/leases/2
cat /etc/machine-id >/var/lib/dbus/machine-id
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
";
/// Stands for OpenSSH's, which BusyBox has not: some random bytes in the file that is named last.
const KEYGEN: &str = "#!/bin/sh\nfor file; do :; done\nhead -c 32 /dev/urandom | md5sum >$file\n";

/// What is a machine's own, a line each; then what all have.
const WHO: &str = "hostname; cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key /sys/class/net/eth0/address
    ip -o -4 addr show eth0 | tr -s ' ' | cut -d' ' -f4; head -c 32 /dev/urandom | md5sum
    cmp /etc/machine-id /var/lib/dbus/machine-id && echo one id
    wget -q -O - http://127.0.0.1:8080/page; cat /etc/ssh/ssh_host_rsa_key; ls /run/systemd/netif/leases | wc -l
    cat /tmp/init; tr '\\0' ' ' </proc/1/cmdline; echo; cat /etc/hostname; date +%s";

fn image(dir: &std::path::Path) -> String {
    let archive = dir.join("image.tar");
    let files = [
        ("sbin/init", INIT),
        ("etc/inittab", INITTAB),
        ("etc/rc", RC),
        ("bin/ssh-keygen", KEYGEN),
        ("etc/ssh/ssh_host_rsa_key", "the image's\n"),
    ];
    let layers = files.map(|(path, content)| busybox::layer_of(path, content.as_bytes()));
    let layers: Vec<_> = [busybox::layer()].into_iter().chain(layers).collect();
    fs::write(&archive, busybox::archive(&layers)).unwrap();
    format!("oci-archive:{}", archive.display())
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn jobs_beside_the_images_own_init_after_a_boot_and_in_clones() {
    let dir = tempfile::tempdir().unwrap();
    let pools = pool_of("default", 0, 2, &image(dir.path()), &format!("    init: image\n{SILENCE}"));
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

    world.wait(BOOT, "the template", || world.log().contains("template made").then_some(()));
    assert!(world.cli(&["pools", "scale", "default", "--min", "2"]).status.success());
    world.wait_ready("default", 2);
    for machine in world.machines() {
        assert_eq!(machine["started"], "snapshot", "{machine}\n{}", world.log());
    }
    let before = now();
    let jobs = [world.submit(&[], WHO), world.submit(&[], WHO)];
    let [one, other] = jobs.map(|id| {
        world.wait_job(&id, &["succeeded"], BOOT);
        text(&world.cli(&["jobs", "logs", &id]).stdout)
    });
    let (one, other): (Vec<&str>, Vec<&str>) = (one.lines().collect(), other.lines().collect());
    assert_eq!((one.len(), other.len()), (14, 14), "{one:?}\n{other:?}");
    for line in 0..6 {
        assert_ne!(one[line], other[line], "{one:?}\n{other:?}");
    }
    for who in [one, other] {
        assert_eq!(who[6..11], ["one id", "page", "the image's", "0", "the image was here"], "{who:?}");
        assert!(who[11].contains("init"), "{who:?}");
        assert_eq!(who[12], who[0], "{who:?}");
        assert!((before..=now()).contains(&who[13].parse().unwrap()), "{before}: {who:?}");
    }

    // Here an agent can be killed, which is told by its silence alone. The machine is no use without one, nor is its job.
    let kill = "for p in /proc/[0-9]*; do case $(tr '\\0' ' ' <$p/cmdline) in *fireactions-agent*) kill -9 ${p#/proc/};; esac; done; sleep 900";
    let id = world.submit(&[], kill);
    let job = world.wait_job(&id, &["lost"], BOOT);
    assert_eq!(job["attempt"], 1, "the number of attempts is configured: {job}");
    assert!(job["reason"].as_str().unwrap().contains("agent"), "{job}");
    world.wait_ready("default", 1);
    world.finish();
}
