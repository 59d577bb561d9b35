//! What the jailed process has, and has not, while it runs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use fireactions_model::DiskLimits;
use fireactions_testkit::reach::Doors;
use fireactions_vmm::{Start, Vmm};

use crate::firecracker::lab::{CGROUP, Lab, MEMORY_MIB, UID, in_namespace, is_there, must, nic, sweep};

/// `/proc/PID/status`.
pub(crate) struct Status(String);

impl Status {
    pub(crate) fn of(pid: u32) -> Self {
        Self(fs::read_to_string(format!("/proc/{pid}/status")).unwrap())
    }

    pub(crate) fn field(&self, name: &str) -> Vec<String> {
        let line = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.split_whitespace().map(str::to_owned).collect()
    }
}

fn limit(pid: u32, name: &str) -> String {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
    line[name.len()..].split_whitespace().next().unwrap().to_owned()
}

/// The machine's cgroup directories.
fn cgroups(id: &str) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let roots = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (at, kind) = (words.next()?, words.next()?);
        kind.starts_with("cgroup").then(|| Path::new(at).join(CGROUP.as_str()).join(id))
    });
    roots.filter(|dir| dir.exists()).collect()
}

#[test]
fn the_jailed_process_has_what_it_needs_and_nothing_else() {
    if !is_there("the_jailed_process_has_what_it_needs_and_nothing_else", true) {
        return;
    }
    in_namespace(1, async || {
        let lab = Lab::new(true).await;
        let driver = lab.driver().await;
        let mut spec = lab.spec(0, Start::Boot, vec![nic(0)]);
        spec.hardware.disk_limits = DiskLimits { mib_per_second: Some(50), iops: Some(1000) };
        let vm = driver.spawn(&spec).await.unwrap();
        let pid = vm.process().pid;

        let status = Status::of(pid);
        let user = UID.to_string();
        assert_eq!(status.field("Uid"), [user.as_str(); 4]);
        assert_eq!(status.field("Gid"), [user.as_str(); 4]);
        for capabilities in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(status.field(capabilities), ["0000000000000000"], "{capabilities}");
        }
        assert_eq!(
            (status.field("Seccomp"), status.field("NoNewPrivs")),
            (vec!["2".into()], vec!["1".into()])
        );
        let numbers = status.field("NSpid");
        assert_eq!(
            numbers.last().map(String::as_str),
            Some("1"),
            "the first of its PID namespace: {numbers:?}"
        );
        println!("uid {user}, no capabilities, seccomp filter, process {pid} is number 1 of its namespace");

        let link = |name: &str| fs::read_link(format!("/proc/{pid}/{name}")).unwrap();
        let own = |name: &str| fs::read_link(format!("/proc/thread-self/{name}")).unwrap();
        for namespace in ["ns/mnt", "ns/pid"] {
            assert_ne!(link(namespace), own(namespace), "{namespace}");
        }
        let seen: Vec<_> = fs::read_dir(format!("/proc/{pid}/root")).unwrap().collect();
        let mut seen: Vec<String> =
            seen.into_iter().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        seen.sort();
        println!("its root holds {seen:?}");
        let program = lab.binary.canonicalize().unwrap();
        let program = program.file_name().unwrap().to_str().unwrap();
        for name in &seen {
            let known = [
                "api.sock",
                "dev",
                "initrd",
                "kernel",
                "log",
                "metrics",
                "root.img",
                "run",
                "scratch.img",
                "v.sock",
                program,
            ];
            assert!(
                known.contains(&name.as_str()) || *name == format!("{program}.pid"),
                "{name} is in the jail"
            );
        }

        let root = PathBuf::from(format!("/proc/{pid}/root"));
        let (root_img, scratch) = (root.join("root.img"), root.join("scratch.img"));
        let meta = fs::metadata(&root_img).unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o022), (0, 0), "the shared image is root's");
        assert_eq!(
            meta.ino(),
            fs::metadata(&spec.drives[0].path).unwrap().ino(),
            "and is linked, not copied"
        );
        let meta = fs::metadata(&scratch).unwrap();
        assert_eq!((meta.uid(), meta.ino()), (UID, fs::metadata(&spec.drives[1].path).unwrap().ino()));
        assert!(fs::metadata(root.join("dev/kvm")).unwrap().file_type().is_char_device());
        assert_eq!(fs::read(format!("/proc/{pid}/environ")).unwrap(), b"", "no environment");

        // Its descriptors: FIFOs, its own files, devices, sockets; nothing of the server's directories.
        let mut kinds: BTreeMap<String, u32> = BTreeMap::new();
        for fd in fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
            let target = fs::read_link(fd.path()).unwrap_or_default().display().to_string();
            *kinds.entry(target.split([':', '[']).next().unwrap().to_owned()).or_default() += 1;
        }
        println!("its descriptors: {kinds:?}");
        assert_eq!(limit(pid, "Max core file size"), "0");
        assert_eq!(limit(pid, "Max open files"), "1024");
        let largest: u64 = limit(pid, "Max file size").parse().unwrap();
        assert!(largest <= u64::from(MEMORY_MIB + 64) << 20, "{largest}");

        let capabilities = driver.capabilities();
        let dirs = cgroups(spec.id.as_str());
        assert!(!dirs.is_empty() || !capabilities.memory_limit);
        for dir in &dirs {
            let members = fs::read_to_string(dir.join("cgroup.procs")).unwrap();
            assert_eq!(members.trim(), pid.to_string(), "{}", dir.display());
            for file in [
                "memory.max",
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "memory.current",
                "pids.max",
                "cpu.max",
                "cpu.cfs_quota_us",
                "io.max",
                "blkio.throttle.read_bps_device",
                "blkio.throttle.write_iops_device",
            ] {
                if let Ok(text) = fs::read_to_string(dir.join(file)) {
                    println!("{file}: {}", text.trim());
                    assert!(!text.trim().is_empty() && text.trim() != "max", "{file} is no limit");
                }
            }
        }
        vm.kill().await.unwrap();
        assert!(cgroups(spec.id.as_str()).is_empty());
        sweep(&driver, &spec, &vm).await;
    });
}

/// As a server has it: the tap is made in the jailed process's own network namespace and handed out.
#[test]
fn the_jailed_process_reaches_nothing_of_its_host() {
    if !is_there("the_jailed_process_reaches_nothing_of_its_host", true) {
        return;
    }
    in_namespace(0, async || {
        let lab = Lab::new(true).await;
        let driver = lab.apart().await;
        let spec = lab.spec(0, Start::Boot, vec![nic(0)]);
        let vm = driver.spawn(&spec).await.unwrap();
        must(Command::new("ip").args(["addr", "add", "10.8.0.1/30", "dev", &nic(0).tap]));
        // What goes to an address of the host's own goes by its loopback.
        for link in [&nic(0).tap, "lo"] {
            must(Command::new("ip").args(["link", "set", link, "up"]));
        }
        let doors = Doors::open(&format!("fireactions-jail-{}", std::process::id()));
        let addresses = ["10.8.0.1".parse().unwrap()];
        assert_eq!(doors.reached_from(vm.process().pid, &addresses), Vec::<String>::new());
        // Seen from where the server is, everything is there.
        let here = doors.reached(&addresses);
        assert_eq!(here, [&nic(0).tap, "@", "10.8.0.1"]);
        vm.kill().await.unwrap();
        sweep(&driver, &spec, &vm).await;
    });
}
