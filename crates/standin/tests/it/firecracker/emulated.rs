//! Emulated guests: the real agent in a real QEMU behind Firecracker's API.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use fireactions_guest_proto::host::{Endpoint, JobEvent, Link};
use fireactions_guest_proto::{Exit, Identity, RunRequest};
use fireactions_testkit::{busybox, guest, no_timer, standin};
use fireactions_vmm::boot::{self, BootFiles};
use serde_json::json;
use tokio::time::timeout;

use crate::firecracker::api::{Firecracker, LONG};

/// Kernel, initramfs with the real agent, image and an empty scratch disk.
struct Files {
    boot: BootFiles,
    root: PathBuf,
    dir: tempfile::TempDir,
}

impl Files {
    async fn make() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let guest::Kernel { image, modules } = guest::kernel();
        let shared = Path::new(env!("CARGO_TARGET_TMPDIR")).join("boot");
        let boot = boot::prepare(&shared, &image, Some(&modules), &guest::agent()).await.unwrap();
        let root = dir.path().join("root.img");
        let mut pack = Command::new("sh")
            .args(["-c", "zcat -f | tar2sqfs -q -f \"$0\""])
            .arg(&root)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(pack.stdin.as_mut().unwrap(), &busybox::layer()).unwrap();
        assert!(pack.wait().unwrap().success(), "tar2sqfs (squashfs-tools-ng) is needed: `make setup`");
        Self { boot, root, dir }
    }

    /// A new scratch disk in this directory.
    fn scratch(dir: &Path) {
        let path = dir.join("scratch.img");
        std::fs::File::create(&path).unwrap().set_len(64 << 20).unwrap();
        assert!(Command::new("mke2fs").args(["-q", "-F"]).arg(&path).status().unwrap().success());
    }
}

/// Configures a whole machine in the process's own directory.
fn configure(fc: &Firecracker, files: &Files) {
    Files::scratch(&fc.dir);
    let line = "reboot=k panic=-1 pci=off quiet console=ttyS0 fireactions.init=agent fireactions.root=/dev/vda \
                fireactions.scratch=/dev/vdb fireactions.vsock=1024";
    fc.put("/machine-config", &json!({"vcpu_count": 1, "mem_size_mib": 256}));
    fc.put(
        "/boot-source",
        &json!({"kernel_image_path": files.boot.kernel, "initrd_path": files.boot.initrd, "boot_args": line}),
    );
    let drive = |id: &str, path: &Path, ro: bool| {
        let body = json!({"drive_id": id, "is_root_device": false, "is_read_only": ro, "path_on_host": path});
        fc.put(&format!("/drives/{id}"), &body);
    };
    drive("root", &files.root, true);
    drive("scratch", Path::new("scratch.img"), false);
    fc.put("/vsock", &json!({"guest_cid": 3, "uds_path": "v.sock"}));
    for (card, tap, mac) in [("eth0", "fa0", "06:00:00:00:00:01"), ("eth1", "fa1", "06:00:00:00:00:02")] {
        let body = json!({"iface_id": card, "host_dev_name": tap, "guest_mac": mac});
        fc.put(&format!("/network-interfaces/{card}"), &body);
    }
    fc.put("/mmds/config", &json!({"version": "V2", "network_interfaces": ["eth0"]}));
    fc.put("/mmds", &json!({"latest": {"meta-data": {"id": "i-1", "long": "x".repeat(40_000)}}}));
    fc.put("/entropy", &json!({}));
    fc.put(
        "/balloon",
        &json!({"amount_mib": 0, "deflate_on_oom": true, "stats_polling_interval_s": 1, "free_page_reporting": true}),
    );
}

fn link(fc: &Firecracker) -> Link {
    let path = fc.dir.join("v.sock_1024");
    let staging = fc.dir.join("staging.sock");
    Link::open(Endpoint::Listen { path, staging }, "m-1".to_owned())
}

fn identity(name: &str) -> Identity {
    Identity {
        hostname: name.to_owned(),
        address: [172, 30, 0, 2].into(),
        prefix: 22,
        gateway: [172, 30, 0, 1].into(),
        dns: Vec::new(),
        machine_id: "0".repeat(32),
        entropy: vec![7; 64],
        unix_nanos: 1_800_000_000_000_000_000,
        dns_search: Vec::new(),
        dns_options: Vec::new(),
        services: Vec::new(),
        drop_ins: Vec::new(),
        sticky: Vec::new(),
        mtu: None,
        mac: None,
        ipv6: None,
    }
}

/// A guest that knows who it is, in a machine that can be changed no more; another one in its place where it found no timer.
async fn booted(files: &Files) -> (Firecracker, Link) {
    let mut replaced = no_timer::Replaced::default();
    loop {
        let mut fc = Firecracker::start(&standin::firecracker(standin::Guest::Emulated));
        configure(&fc, files);
        let link = link(&fc);
        let paused = json!({"state": "Paused"});
        fc.refused("PATCH", "/vm", &paused, "not supported before starting");
        fc.put("/actions", &json!({"action_type": "InstanceStart"}));
        let machine = json!({"vcpu_count": 1, "mem_size_mib": 512});
        fc.refused("PUT", "/machine-config", &machine, "not supported after starting");
        let gone = async {
            while !fc.has_ended() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let met = async {
            tokio::select! {
                configured = link.configure(identity("first")) => Some(configured),
                () = gone => None,
            }
        };
        let met = timeout(LONG, met).await;
        match met {
            Ok(Some(Ok(_))) => return (fc, link),
            Ok(None) if replaced.gave_up(&fc.console()) => link.shut().await,
            other => panic!("no agent: {other:?}\n{}", fc.console()),
        }
    }
}

/// Starts a script in a configured guest, which runs one.
async fn start(link: &Link, script: &str) {
    let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
    let request = RunRequest {
        run: "job".to_owned(),
        argv,
        env: Vec::new(),
        user: String::new(),
        owner_of: Vec::new(),
        workdir: String::new(),
    };
    timeout(LONG, link.run(request)).await.expect("it starts in time").unwrap();
}

/// What it says up to these words, or else up to its end.
async fn said(link: &Link, until: Option<&str>) -> String {
    let mut said = String::new();
    while until.is_none_or(|until| !said.contains(until)) {
        let event = timeout(LONG, link.next_output()).await;
        match event.unwrap_or_else(|_| panic!("it says nothing more:\n{said}")).unwrap() {
            JobEvent::Output { data, .. } => said += std::str::from_utf8(&data).unwrap(),
            JobEvent::Exited(result) => {
                assert_eq!(result.exit, Exit::Code(0), "{said}");
                assert_eq!(until, None, "{said}");
                break;
            }
        }
    }
    said
}

/// What an update does not name stays, a bucket of nothing is no limit, and all is shown.
fn limits_change(fc: &Firecracker) {
    let bucket = |size: u64| json!({"size": size, "one_time_burst": null, "refill_time": 1000});
    let limiter = |bandwidth: u64, ops: u64| json!({"bandwidth": bucket(bandwidth), "ops": bucket(ops)});
    let shown = |list: &str, id: &str, field: &str| {
        let config = fc.get("/vm/config");
        let is_it = |item: &&serde_json::Value| item["drive_id"] == id || item["iface_id"] == id;
        config[list].as_array().unwrap().iter().find(is_it).unwrap()[field].clone()
    };
    for (path, list, id, key, fields) in [
        ("/drives/scratch", "drives", "scratch", "drive_id", &["rate_limiter"][..]),
        (
            "/network-interfaces/eth0",
            "network-interfaces",
            "eth0",
            "iface_id",
            &["rx_rate_limiter", "tx_rate_limiter"],
        ),
    ] {
        for field in fields {
            let update = |limiter: serde_json::Value| fc.patch(path, &json!({key: id, *field: limiter}));
            update(json!({"bandwidth": bucket(1 << 20), "ops": bucket(100)}));
            assert_eq!(shown(list, id, field), limiter(1 << 20, 100));
            update(json!({"ops": bucket(50)}));
            assert_eq!(shown(list, id, field), limiter(1 << 20, 50), "{field} of {path}");
            update(json!({"bandwidth": bucket(0), "ops": bucket(0)}));
            assert_eq!(shown(list, id, field), json!(null));
        }
    }
    // And QEMU knows of it: a drive's limits are refused in its words.
    let too_much = json!({"drive_id": "scratch", "rate_limiter": {"ops": bucket(1 << 60)}});
    fc.refused("PATCH", "/drives/scratch", &too_much, "Unable to patch the block device: Block:");
}

/// Asks for the metadata by both of its cards, and again once it has changed. The service keeps connections, so `nc` waits for more:
/// for as long as a slow guest takes for an answer.
const SCRIPT: &str = r#"
    hostname; grep -c fireactions.port /proc/cmdline
    at=169.254.169.254 it=latest/meta-data
    ask() { said=; until [ -n "$said" ]; do said=$(printf "$1 HTTP/1.1\r\n$2\r\n" | nc -w 3 $at 80); done; }
    get() { ask "GET /$1" "X-metadata-token: $token\r\n$2"; }
    last() { printf '%s' "$said" | sed -e '1,/^\r$/d'; }
    first() { printf '%s' "$said" | head -n 1 | tr -d '\r'; }
    reached() { ping -c 1 -W 2 $at >/dev/null && echo yes || echo no; }
    ask 'PUT /latest/api/token' 'X-metadata-token-ttl-seconds: 60\r\n'; token=$(last)
    get $it/id; echo "by the gateway: $(last)"
    ip route add $at dev eth0
    get $it/; echo "listed: $(last | tr '\n' ' ')"
    get $it/id 'Accept: application/json\r\n'; echo "as JSON: $(last)"
    get $it/long; echo "long: $(last | wc -c)"
    ask "GET /$it/id"; echo "without: $(first)"
    get page; echo "host: $(first)$(reached)"
    ip link set eth1 up; ip addr add 172.30.4.2/22 dev eth1; ip route del $at; ip route add $at dev eth1
    get page; echo "by the other card: $(last) $(reached)"
    ip route del $at; ip route add $at dev eth0; token=x
    get $it/id; echo "another: $(first)"
    ask 'PUT /latest/api/token' 'X-metadata-token-ttl-seconds: 60\r\n'; token=$(last)
    while get $it && [ "$(last)" != id ]; do sleep 1; done
    get $it/id; echo "then: $(last)""#;

/// The service is where it was configured to be, and not a packet to it comes further, though somebody listens there.
async fn metadata_is_served(fc: &Firecracker, link: &Link) {
    start(link, SCRIPT).await;
    let first = said(link, Some("by the other card: the host")).await;
    fc.patch("/mmds", &json!({"latest": {"meta-data": {"id": "i-2", "long": null}}}));
    let all = first + &said(link, None).await;
    let lines: Vec<&str> = all.lines().map(str::trim).collect();
    assert_eq!(
        lines,
        [
            "first",
            "1",
            "by the gateway: i-1",
            "listed: id long",
            "as JSON: \"i-1\"",
            "long: 40000",
            "without: HTTP/1.1 401",
            "host: HTTP/1.1 404 no",
            "by the other card: the host yes",
            "another: HTTP/1.1 401",
            "then: i-2",
        ],
        "{all}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_guest_boots_runs_a_job_and_ends_with_a_restart() {
    let files = Files::make().await;
    let (mut fc, link) = booted(&files).await;
    fc.patch("/balloon", &json!({"amount_mib": 64}));
    assert_eq!(fc.get("/balloon/statistics")["target_mib"], 64);
    limits_change(&fc);
    metadata_is_served(&fc, &link).await;
    timeout(LONG, link.power_off()).await.unwrap().unwrap();
    assert!(fc.ended(Duration::from_secs(20)).success(), "{}", fc.console());
    drop(files.dir);
}
