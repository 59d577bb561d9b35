//! Containers in machines: what they need of a guest, and Docker itself.

use std::fs;
use std::time::Duration;

use fireactions_testkit::{busybox, debian};

use crate::world::{BOOT, NO_TEMPLATE, Setup, World, pool_of, text};
use crate::{driver, registry_cache};

/// Docker starts, and starts containers, within seconds; under emulation beside other tests it may take a while.
const DOCKER: Duration = Duration::from_secs(600);

/// An image with something in a directory that is to lie on the disk.
fn seeded(dir: &std::path::Path) -> String {
    let archive = dir.join("image.tar");
    let layers = [busybox::layer(), busybox::layer_of("srv/seeded/seed", b"from the image\n")];
    fs::write(&archive, busybox::archive(&layers)).unwrap();
    format!("oci-archive:{}", archive.display())
}

/// A kernel's modules as the machine has them; the kernel asks for one by this name of the program.
const WITH_MODULES: &str = r"
    grep -c ^dummy /proc/modules
    ls /lib/modules/$(uname -r)/modules.dep >/dev/null
    ! grep -q ^veth /proc/modules
    mkdir -p /sbin; ln -s /bin/modprobe /sbin/modprobe
";
/// All is in the kernel, also what is to be loaded.
const ALL_BUILT_IN: &str = "ip link add d0 type dummy; grep -c . /proc/modules || true";

/// What engines need of a guest, in one whose kernel is this one; `modules` prints a line.
fn is_fit_for_engines(kernel: String, modules: &str, line: &str) {
    let dir = tempfile::tempdir().unwrap();
    let image = format!("{}\n      data_dirs: [/srv/seeded]", seeded(dir.path()));
    let more = format!("      kernel_modules_load: [dummy]\n    swap_mib: 64\n{NO_TEMPLATE}");
    let world = World::start(Setup {
        pools: pool_of("default", 1, 1, &image, &more),
        more: "network: {dns_search: [corp.example.com], dns_options: [timeout:1], mtu: 1400}".into(),
        kernel,
        ..Setup::default()
    });
    let script = r"
        set -e
        for d in /var/lib/docker /var/lib/containerd /var/lib/containers /srv/seeded; do
            echo $d $(awk -v d=$d '$2 == d { print $3 }' /proc/mounts)
        done
        cat /srv/seeded/seed
        cd /var/lib/docker; mkdir low up work on; echo below >low/file
        mount -t overlay overlay -o lowerdir=low,upperdir=up,workdir=work on
        echo above >on/file; cat up/file low/file
        MODULES
        ip link add v0 type veth; ip link add name b0 type bridge; ls -d /sys/class/net/v0 /sys/class/net/b0
        # The kernel loads the driver of a node that is opened.
        ls -l /dev/fuse /dev/net/tun | cut -c1-10; : <>/dev/net/tun; grep -c '^ *200 tun$' /proc/misc
        # Files of another processor, say, run by a program that is registered for them.
        mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
        printf '#!/bin/sh\necho run by $0: $1\n' >/tmp/runs; echo anything >/tmp/file.foreign
        chmod +x /tmp/runs /tmp/file.foreign
        echo ':foreign:E::foreign::/tmp/runs:' >/proc/sys/fs/binfmt_misc/register; /tmp/file.foreign
        awk 'NR > 1 && $3 > 60000 { print $2 }' /proc/swaps; ulimit -n
        grep -v nameserver /etc/resolv.conf; cat /sys/class/net/eth0/mtu
    ";
    let ran = world.cli(&["run", "--", "sh", "-c", &script.replace("MODULES", modules)]);
    assert_eq!(
        text(&ran.stdout),
        format!(
            "/var/lib/docker ext4\n/var/lib/containerd ext4\n/var/lib/containers ext4\n/srv/seeded ext4\nfrom the image\nabove\n\
             below\n{line}\n/sys/class/net/b0\n/sys/class/net/v0\ncrw-rw-rw-\ncrw-rw-rw-\n1\nrun by /tmp/runs: /tmp/file.foreign\n\
             file\n65536\nsearch corp.example.com\noptions timeout:1\n1400\n"
        ),
        "{}\n{}",
        text(&ran.stderr),
        world.log()
    );
    assert!(ran.status.success());
    world.finish();
}

#[test]
fn a_container_engine_finds_its_place_and_its_modules() {
    is_fit_for_engines(driver::kernel(), WITH_MODULES, "1");
}

#[test]
fn a_container_engine_finds_its_place_in_the_custom_kernel() {
    if let Some(kernel) = driver::custom_kernel("what engines need, in the kernel of scripts/build-kernel") {
        is_fit_for_engines(kernel, ALL_BUILT_IN, "0");
    }
}

#[test]
fn a_data_directory_that_cannot_be_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let image = format!("{}\n      data_dirs: [/srv/seeded/seed]", seeded(dir.path()));
    let world = World::start(Setup {
        pools: pool_of("default", 0, 1, &image, NO_TEMPLATE),
        more: "local: {attempts: 1}".into(),
        ..Setup::default()
    });
    let id = world.submit(&[], "true");
    let why = "/srv/seeded/seed cannot lie on the scratch disk: it is a file in the image, not a directory";
    world.wait(BOOT, "the reason", || world.log().contains(why).then_some(()));
    assert!(world.cli(&["jobs", "cancel", &id]).status.success());
    world.wait_job(&id, &["cancelled"], BOOT);
}

fn docker_works(kernel: String) {
    let is_long = std::env::var_os("FIREACTIONS_LONG").is_some();
    let mut packages = vec!["docker.io", "iptables", "kmod", "iproute2", "ca-certificates", "busybox-static"];
    // Releases in which BuildKit is a package of its own.
    packages.extend(["docker-buildx"].into_iter().filter(|name| debian::has(name)));
    if is_long {
        packages.extend(["docker-compose"]);
    }
    let image = debian::image(&packages);
    let image = format!("{image}\n      services: [{{name: dockerd, timeout: 5m}}]");
    let pools =
        pool_of("default", 0, 1, &image, NO_TEMPLATE).replace("mem_size_mib: 256", "mem_size_mib: 1024");
    let pools = pools.replace("disk_size_mib: 256", "disk_size_mib: 6144");
    let before = registry_cache::before("library/busybox:latest");
    let more = registry_cache::SECTION.to_owned();
    let world = World::start(Setup { pools, more, before, kernel, ..Setup::default() });
    let what = if is_long { "MORE=buildkit names compose" } else { "MORE=" };
    let id = world.submit(&["--env", "BIG=2048", "--env", what], include_str!("docker.sh"));
    assert_all_well(&world, &id);
    world.finish();
}

/// Waits for the end of a job whose script ends with the first thing that is not well.
fn assert_all_well(world: &World, id: &str) {
    let job = world.wait_job(id, &["succeeded", "failed", "lost"], DOCKER);
    let log = world.cli(&["jobs", "logs", id]);
    assert_eq!(job["state"], "succeeded", "{job}\n{}{}", text(&log.stdout), text(&log.stderr));
    println!("{}\n{}", job["phases"], text(&log.stdout));
}

#[test]
fn docker_runs_builds_and_publishes() {
    docker_works(driver::kernel());
}

/// Layers, images and containers of one job are there in the next one's Docker, which has not been asked to do anything for it.
#[test]
fn docker_has_what_the_last_job_left() {
    let packages = ["docker.io", "iptables", "kmod", "iproute2", "ca-certificates", "busybox-static"];
    let sticky = "sticky: [{path: /var/lib/docker, key: docker, size_mib: 2048}]";
    let image = format!(
        "{}\n      services: [{{name: dockerd, timeout: 5m}}]\n      {sticky}",
        debian::image(&packages)
    );
    let pools = pool_of("default", 0, 1, &image, "").replace("mem_size_mib: 256", "mem_size_mib: 1024");
    let pools = pools.replace("disk_size_mib: 256", "disk_size_mib: 1024");
    let more = "sticky: {keep_free_mib: 0}".to_owned();
    let world = World::start(Setup { pools, more, ..Setup::default() });
    let leaves = "set -e
        mkdir -p /tmp/root/bin; cp /bin/busybox /tmp/root/bin/; tar -C /tmp/root -c . | docker import - base
        docker run --name left base /bin/busybox sh -c 'echo written >/in-its-layer'
        # One that is not ended by anybody.
        docker run -d base /bin/busybox sleep 1000";
    assert_all_well(&world, &world.submit(&[], leaves));
    world.wait(DOCKER, "what it left", || {
        let status = world.json(&["cache", "status"]);
        status["sticky"]["volumes"][0]["key"].as_str().map(|key| assert_eq!(key, "docker"))
    });
    let finds = "set -e; docker images -q base | grep .; docker cp left:/in-its-layer - | tar -xO
        docker run --rm base /bin/busybox echo ran";
    let id = world.submit(&[], finds);
    assert_all_well(&world, &id);
    let log = text(&world.cli(&["jobs", "logs", &id]).stdout);
    assert!(log.ends_with("written\nran\n"), "{log}");
    world.finish();
}

#[test]
fn docker_works_in_the_custom_kernel() {
    if let Some(kernel) = driver::custom_kernel("Docker in the kernel of scripts/build-kernel") {
        docker_works(kernel);
    }
}

/// Nothing in the image is made for it: its user is a line in `/etc/passwd`, and podman is installed.
#[test]
fn podman_works_for_a_user_without_rights() {
    let mut packages = vec!["podman", "uidmap", "slirp4netns", "kmod", "ca-certificates", "busybox-static"];
    // What podman has used since its version 5.
    packages.extend(["passt"].into_iter().filter(|name| debian::has(name)));
    let image = debian::image_with_user(&packages, "runner");
    let pools = pool_of("default", 0, 1, &image, "").replace("mem_size_mib: 256", "mem_size_mib: 768");
    let pools = pools.replace("disk_size_mib: 256", "disk_size_mib: 2048");
    let world = World::start(Setup { pools, ..Setup::default() });
    let archive = busybox::reference().replace("oci-archive:", "");
    let copy = format!("{archive}:/tmp/busybox.tar");
    let id = world.submit(&["--user", "runner", "--copy", &copy], include_str!("rootless.sh"));
    assert_all_well(&world, &id);
    world.finish();
}

/// Docker in an image with systemd, whose machines are clones of one in which that is up; Docker answers their job's first question.
#[test]
fn docker_is_up_in_clones_of_an_image_with_systemd() {
    let image = debian::image(&debian::SYSTEMD_WITH_DOCKER);
    let pools = pool_of("default", 0, 2, &image, "    init: image\n");
    let pools = pools.replace("mem_size_mib: 256", "mem_size_mib: 1024");
    let pools = pools.replace("disk_size_mib: 256", "disk_size_mib: 6144");
    let before = registry_cache::before("library/busybox:latest");
    let more = registry_cache::SECTION.to_owned();
    let world = World::start(Setup { pools, more, before, ..Setup::default() });
    let first = world.submit(&[], "cat /etc/machine-id");
    world.wait_job(&first, &["succeeded"], DOCKER);
    world.wait(DOCKER, "the template", || world.log().contains("template made").then_some(()));

    let who = "set -e
        docker ps -q; cat /etc/machine-id; hostname; ls /run/log/journal /var/log/journal 2>/dev/null | grep -x $(cat /etc/machine-id)
        logger of this machine; until journalctl -q -t root | grep 'of this machine'; do sleep 0.2; done >&2
        journalctl -q -u docker.service | grep -c Started; systemctl is-system-running
        dbus-send --system --print-reply=literal --dest=org.freedesktop.hostname1 /org/freedesktop/hostname1 \\
            org.freedesktop.DBus.Properties.Get string:org.freedesktop.hostname1 string:Hostname | awk '{ print $2 }'
        until docker info -f '{{.RegistryConfig.Mirrors}}' | grep -q 172.30.0.1; do sleep 0.2; done";
    assert!(world.cli(&["pools", "scale", "default", "--min", "2"]).status.success());
    world.wait_ready("default", 2);
    for machine in world.machines() {
        assert_eq!(machine["started"], "snapshot", "{machine}\n{}", world.log());
    }
    let jobs = [world.submit(&[], who), world.submit(&[], who)];
    let said = jobs.map(|id| {
        let job = world.wait_job(&id, &["succeeded", "failed", "lost"], DOCKER);
        let log = text(&world.cli(&["jobs", "logs", &id]).stdout);
        assert_eq!(job["state"], "succeeded", "{job}\n{log}");
        log
    });
    let [one, other] = said.each_ref().map(|log| log.lines().collect::<Vec<_>>());
    assert!(one[..2].iter().zip(&other[..2]).all(|(one, other)| one != other), "{said:?}");
    for who in [one, other] {
        assert_eq!(who[2], who[0], "its journal is under its own id: {said:?}");
        assert_eq!(who[who.len() - 2..], ["running", who[1]], "{said:?}");
    }
    let all = world.submit(&["--env", "BIG=16", "--env", "MORE=buildkit names"], include_str!("docker.sh"));
    assert_all_well(&world, &all);
    world.finish();
}

#[test]
fn a_service_is_there_before_the_job_and_comes_back_when_it_ends() {
    let image = format!(
        "{}\n      services:\n      - {{name: web, command: [sh, -c, 'echo up; exec httpd -f -p 127.0.0.1:8080 -h /tmp'], ready: {{port: 8080}}, \
         restart: true}}",
        busybox::reference()
    );
    let world = World::start(Setup { pools: pool_of("default", 1, 1, &image, ""), ..Setup::default() });
    let script = r"
        set -e
        echo page >/tmp/page
        wget -q -O - http://127.0.0.1:8080/page
        first=$(pidof httpd); kill $first
        until next=$(pidof httpd) && [ $next != $first ] && wget -q -O - http://127.0.0.1:8080/page; do sleep 0.2; done
        until [ -e /tmp/go ]; do sleep 0.2; done
    ";
    let id = world.submit(&[], script);
    world.wait_log(&id, "page\npage\n", BOOT);
    let log = |name: &str| world.cli(&["jobs", "logs", &id, "--service", name]);
    let shown = log("web");
    assert_eq!(text(&shown.stdout), "up\nup\n", "of a job that runs: {}", text(&shown.stderr));
    let machine = world.job(&id)["machine"].as_str().unwrap().to_owned();
    assert!(world.cli(&["exec", &machine, "--", "touch", "/tmp/go"]).status.success());
    world.wait_job(&id, &["succeeded"], BOOT);
    assert_eq!(text(&log("web").stdout), "up\nup\n", "of one that has ended");
    let none = log("mail");
    assert!(!none.status.success());
    let why = format!("job {id} has no log of a service 'mail': the job is succeeded");
    assert!(text(&none.stderr).contains(&why), "{}", text(&none.stderr));
    world.finish();
}

#[test]
fn a_service_that_does_not_get_ready_says_why() {
    let services = [
        (
            "{name: dies, command: [sh, -c, 'echo no disk; exit 3'], ready: {port: 5000}}",
            "dies",
            "ended before it was ready (exit code 3)",
        ),
        (
            "{name: mute, command: [sleep, '600'], ready: {socket: /run/mute}, timeout: 1s}",
            "mute",
            "was not ready within 1 s: nothing listens at /run/mute",
        ),
    ];
    for (service, name, why) in services {
        let image = format!("{}\n      services: [{service}]", busybox::reference());
        let world = World::start(Setup {
            pools: pool_of("default", 0, 1, &image, ""),
            more: "local: {attempts: 1}".into(),
            ..Setup::default()
        });
        let id = world.submit(&[], "true");
        let said = format!("service '{name}' {why}");
        world.wait(BOOT, "the reason", || world.log().contains(&said).then_some(()));
        if name == "dies" {
            let last = "last lines of /var/log/fireactions/dies.log: no disk";
            assert!(world.log().contains(last), "{}", world.log());
        }
        assert!(world.cli(&["jobs", "cancel", &id]).status.success());
        world.wait_job(&id, &["cancelled"], BOOT);
    }
}
