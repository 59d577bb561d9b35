//! The units under a real service manager: the server is installed as the guide says, in a guest with Debian's systemd, and has machines
//! there, which the stand-in for VMMs plays.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fireactions_testkit::standin::Guest;
use fireactions_testkit::{busybox, debian, guest, standin};

use crate::world::{Setup, World, pool_of, text};

/// Three servers in a guest that is emulated.
const LONG: Duration = Duration::from_secs(1200);

/// What a host has, by the guide to requirements.
const HOST: [&str; 10] = [
    "systemd-sysv",
    "dbus",
    "iproute2",
    "kmod",
    "procps",
    "squashfs-tools-ng",
    "e2fsprogs",
    "zstd",
    "ca-certificates",
    "busybox-static",
];

/// The module's unit, closed further than the packaged one.
fn module(driver: &str) -> String {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let expression = format!(
        r#"with import ./tests/nix/pure.nix; unit {{ driver = "{driver}"; program = "/usr/local/bin/fireactions"; config = "/etc/fireactions/config.yaml"; }}"#
    );
    let mut command = Command::new("nix-instantiate");
    command.args(["--eval", "--strict", "--json", "--expr", &expression]).current_dir(repository);
    let output = command.output().expect("nix-instantiate (make setup installs it)");
    let unit: String =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    // `kill` comes from the module's own package.
    unit.replace("=kill ", "=/bin/kill ")
}

/// What the guest gets: programs, units, configurations.
fn files(dir: &Path) {
    let made = Command::new("objcopy")
        .args(["--strip-all", env!("CARGO_BIN_EXE_fireactions")])
        .arg(dir.join("fireactions"))
        .status();
    assert!(made.expect("objcopy (binutils) is needed").success());
    fs::copy(guest::agent(), dir.join("fireactions-agent")).unwrap();
    fs::copy(guest::kernel().image, dir.join("vmlinuz")).unwrap();
    fs::copy(busybox::reference().replace("oci-archive:", ""), dir.join("busybox.tar")).unwrap();
    fs::create_dir(dir.join("vmm")).unwrap();
    for program in [standin::firecracker(Guest::Played), standin::jailer()] {
        fs::copy(&program, dir.join("vmm").join(program.file_name().unwrap())).unwrap();
    }
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/systemd");
    let packaged = fs::read_to_string(units.join("fireactions.service")).unwrap();
    // No machine here: the stand-in for QEMU needs a system call that no unit allows.
    let qemu = "driver: qemu, accel: tcg, qemu_binary: /bin/echo";
    let firecracker = "driver: firecracker, firecracker_binary: /srv/in/vmm/firecracker-played, jailer_binary: /srv/in/vmm/jailer";
    for (case, unit, vmm) in [
        ("packaged", packaged, firecracker),
        ("module-firecracker", module("firecracker"), firecracker),
        ("module-qemu", module("qemu"), qemu),
    ] {
        let warm = u32::from(vmm == firecracker);
        let config = format!(
            "bind_address: 127.0.0.1:8080\nkernel: {{image: /srv/in/vmlinuz}}\nvmm: {{{vmm}}}\npools:\n{}",
            pool_of("default", warm, 2, "oci-archive:/srv/in/busybox.tar", "").replace("256", "64")
        );
        fs::write(dir.join(format!("{case}.yaml")), config).unwrap();
        fs::write(dir.join(format!("{case}.service")), unit).unwrap();
    }
}

#[test]
fn the_units_run_the_server_under_systemd() {
    let image = debian::image(&HOST);
    let pools = pool_of("default", 0, 1, &image, "    init: image\n    start: boot\n");
    let pools = pools.replace("mem_size_mib: 256", "mem_size_mib: 1024");
    let pools = pools.replace("disk_size_mib: 256", "disk_size_mib: 2048");
    let world = World::start(Setup { pools, more: "local: {attempts: 1}".into(), ..Setup::default() });
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("in");
    fs::create_dir(&input).unwrap();
    files(&input);
    let cases = ["packaged", "module-firecracker", "module-qemu"];
    let copy = format!("{}:/srv/in", input.display());
    let options = ["--copy", &copy, "--env", &format!("CASES={}", cases.join(" "))];
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/installed.sh");
    let id = world.submit(&options, &fs::read_to_string(script).unwrap());
    let job = world.wait_job(&id, &["succeeded", "failed", "lost"], LONG);
    let output = world.cli(&["jobs", "logs", &id]);
    let said = text(&output.stdout);
    println!("{said}");
    assert_eq!(job["state"], "succeeded", "{job}\n{said}{}", text(&output.stderr));
    for case in cases {
        let of = |what: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(&format!("{case} {what}: ")));
            line.unwrap_or_else(|| panic!("{case} {what}: {said}")).trim().to_owned()
        };
        assert_eq!(of("started"), "success active", "{said}");
        assert_eq!(of("health"), "ok", "{said}");
        // What the unit closes is closed, for the process that serves.
        assert_eq!(of("process"), "NoNewPrivs=1 Seccomp=2", "{said}");
        assert_eq!(of("system"), "Read-only file system", "{said}");
        assert_eq!(of("home"), "Read-only file system", "{said}");
        let exposure: f64 = of("exposure").parse().unwrap();
        assert!(exposure <= if case == "packaged" { 4.8 } else { 4.0 }, "{said}");
        if case != "module-qemu" {
            assert_eq!(of("job"), "hello 7", "{said}");
            let words = "\"attempt\":1 \"state\":\"running\"";
            assert_eq!(of("job after a reload, a crash and a restart"), words, "{said}");
        }
        assert_eq!(of("stopped"), "success inactive", "{said}");
        assert_eq!(of("left"), "0 0", "{said}");
    }
    world.finish();
}
