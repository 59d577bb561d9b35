//! A real Firecracker that runs a guest: what may be asked only then. Needs `FIREACTIONS_FIRECRACKER_BIN`,
//! `FIREACTIONS_LAB_KERNEL`, a usable `/dev/kvm`, and root for a network namespace with a tap in it. The guest need not
//! get anywhere: its kernel is started, and no more is needed here.

use std::env;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::process::Command;
use std::time::Duration;

use fireactions_model::MmdsVersion;
use fireactions_testkit::skip;
use fireactions_vmm::firecracker::api::metrics::Metrics;
use fireactions_vmm::firecracker::api::{
    Action, Balloon, BalloonUpdate, BootSource, Drive, Entropy, Feature, GetBalloonStatistics, GetInstance,
    InstanceState, Mac, MachineConfig, MmdsConfig, MmdsContents, NetworkInterface, NetworkOverride, PutMmds,
    RateLimiter, Request, SetState, SnapshotCreate, SnapshotLoad, SnapshotType, Vsock, VsockOverride,
};
use serde_json::json;

use crate::firecracker_api::asked::{Get, Patch, Put};
use crate::firecracker_api::process::{Real, program};

const MEMORY_MIB: u32 = 128;

/// One in a network namespace of its own with that tap.
async fn in_namespace(program: &std::path::Path, tap: &str) -> Real {
    let mut command = Command::new("unshare");
    let script = format!("ip tuntap add {tap} mode tap && exec \"$0\" \"$@\"");
    command.args(["--net", "sh", "-c", &script]).arg(program);
    Real::start(command).await
}

/// The latest metrics in a pipe that has been read so far.
fn metrics(pipe: &mut std::fs::File) -> Metrics {
    let mut text = vec![0; 1 << 18];
    let length = pipe.read(&mut text).expect("metrics were written");
    let mut lines = text[..length].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let first = Metrics::parse(lines.next().unwrap()).expect("a line of metrics");
    lines.fold(first, |mut sum, line| {
        sum.add(&Metrics::parse(line).expect("a line of metrics"));
        sum
    })
}

fn metrics_pipe(real: &Real) -> std::fs::File {
    let path = real.dir.path().join("metrics");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap()
}

/// Describes a machine with one of everything.
async fn describe(real: &Real, kernel: &str) {
    let version = real.client.version();
    symlink(kernel, real.dir.path().join("kernel")).unwrap();
    let (kernel_image_path, boot_args) = ("kernel".into(), Some("reboot=k panic=1 pci=off quiet".into()));
    real.done(&BootSource { kernel_image_path, initrd_path: None, boot_args }).await;
    real.done(&MachineConfig::new(1, MEMORY_MIB)).await;
    real.done(&Drive::new("root", real.file("root.img", 1 << 20), true)).await;
    real.done(&Drive::new("scratch", real.file("scratch.img", 1 << 20), false)).await;
    real.done(&NetworkInterface {
        iface_id: "eth0".into(),
        host_dev_name: "fa0".into(),
        guest_mac: Some(Mac([6, 0, 0, 0, 0, 1])),
        mtu: version.has(Feature::NetworkMtu).then_some(1450),
        rx_rate_limiter: Some(RateLimiter::mbit(100)),
        tx_rate_limiter: Some(RateLimiter::mbit(100)),
    })
    .await;
    real.done(&Vsock { guest_cid: 3, uds_path: "v.sock".into() }).await;
    real.done(&Entropy::default()).await;
    real.done(&Balloon {
        deflate_on_oom: true,
        stats_polling_interval_s: 1,
        free_page_reporting: version.has(Feature::FreePageReporting),
        ..Balloon::default()
    })
    .await;
    real.done(&MmdsConfig {
        version: MmdsVersion::V2,
        network_interfaces: vec!["eth0".into()],
        ipv4_address: None,
        imds_compat: version.has(Feature::ImdsCompat),
    })
    .await;
}

/// What may be changed while a guest runs.
async fn change(real: &Real) {
    let path = real.file("other.img", 2 << 20);
    real.done(&Patch("/drives/scratch", json!({"drive_id": "scratch", "path_on_host": path}))).await;
    let seen = real.done(&Get("/vm/config")).await;
    let drives = seen["drives"].as_array().unwrap();
    let scratch = drives.iter().find(|drive| drive["drive_id"] == "scratch").unwrap();
    assert_eq!(scratch["path_on_host"], "other.img", "{seen}");
    let card = &seen["network-interfaces"][0];
    assert_eq!(card["guest_mac"], "06:00:00:00:00:01", "{seen}");
    let limit = serde_json::to_value(RateLimiter::mbit(100).bandwidth.unwrap()).unwrap();
    for direction in ["rx_rate_limiter", "tx_rate_limiter"] {
        assert_eq!(card[direction]["bandwidth"]["size"], limit["size"], "{seen}");
    }

    // The guest's driver may not be there yet; Firecracker then says so.
    let _ = real.client.send(&BalloonUpdate { amount_mib: 16 }).await;
    let statistics = real.done(&GetBalloonStatistics).await;
    assert!(statistics.target_mib <= 16, "{statistics:?}");
    assert!(real.refusal(&BalloonUpdate { amount_mib: MEMORY_MIB * 2 }).await.len() > 5);

    let tree = json!({"latest": {"meta-data": {"hostname": "a"}}});
    real.done(&PutMmds(MmdsContents(tree.as_object().unwrap().clone()))).await;
    assert_eq!(real.done(&Get("/mmds")).await, tree);
}

#[tokio::test]
async fn a_guest_is_started_changed_frozen_and_woken_elsewhere() {
    let test = "a_guest_is_started_changed_frozen_and_woken_elsewhere";
    let Some(program) = program(test) else { return };
    let Ok(kernel) = env::var("FIREACTIONS_LAB_KERNEL") else {
        skip::say(skip::Kind::Lab, test, "FIREACTIONS_LAB_KERNEL names no kernel");
        return;
    };
    if let Err(error) = OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        skip::say(skip::Kind::Kvm, test, &format!("/dev/kvm: {error}"));
        return;
    }
    let template = in_namespace(&program, "fa0").await;
    let version = template.client.version();
    let mut pipe = metrics_pipe(&template);
    template.done(&Put("/metrics", json!({"metrics_path": "metrics"}))).await;
    describe(&template, &kernel).await;
    template.done(&Action::InstanceStart).await;
    assert_eq!(template.done(&GetInstance).await.state, InstanceState::Running);
    assert!(template.refusal(&MachineConfig::new(1, 256)).await.contains("not supported after"));
    change(&template).await;

    template.done(&SetState::Paused).await;
    assert_eq!(template.done(&GetInstance).await.state, InstanceState::Paused);
    let create = SnapshotCreate {
        snapshot_path: "state".into(),
        mem_file_path: "memory".into(),
        snapshot_type: SnapshotType::Full,
    };
    assert_eq!(template.client.send_within(&create, Duration::from_secs(60)).await.unwrap(), ());
    let memory = template.dir.path().join("memory");
    assert_eq!(memory.metadata().unwrap().len(), u64::from(MEMORY_MIB) << 20);
    template.done(&SetState::Resumed).await;
    template.done(&Action::FlushMetrics).await;
    let seen = metrics(&mut pipe);
    assert!(seen.snapshot_us > 0 && seen.pause_us > 0 && seen.resume_us > 0, "{seen:?}");
    assert_eq!((seen.seccomp_faults, seen.panics, seen.api_failures), (0, 0, 0), "{seen:?}");

    if !version.has(Feature::NetworkOverrides) {
        return;
    }
    let clone = in_namespace(&program, "fa1").await;
    for name in ["state", "memory", "root.img", "other.img"] {
        std::fs::hard_link(template.dir.path().join(name), clone.dir.path().join(name)).unwrap();
    }
    let mut pipe = metrics_pipe(&clone);
    clone.done(&Put("/metrics", json!({"metrics_path": "metrics"}))).await;
    let mut load = SnapshotLoad::new("state", "memory");
    load.network_overrides = vec![NetworkOverride { iface_id: "eth0".into(), host_dev_name: "fa1".into() }];
    if version.has(Feature::VsockOverride) {
        load.vsock_override = Some(VsockOverride { uds_path: "w.sock".into() });
        load.clock_realtime = true;
    }
    clone.done(&load).await;
    assert_eq!(clone.done(&GetInstance).await.state, InstanceState::Paused);
    let path = clone.file("own.img", 2 << 20);
    clone.done(&Patch("/drives/scratch", json!({"drive_id": "scratch", "path_on_host": path}))).await;
    clone.done(&SetState::Resumed).await;
    assert_eq!(clone.done(&GetInstance).await.state, InstanceState::Running);
    let config = clone.done(&Get("/vm/config")).await;
    assert_eq!(config["network-interfaces"][0]["host_dev_name"], "fa1", "{config}");
    if version.has(Feature::VsockOverride) {
        assert_eq!(config["vsock"]["uds_path"], "w.sock", "{config}");
    }
    clone.done(&Action::FlushMetrics).await;
    let woken = metrics(&mut pipe);
    assert!(woken.load_us > 0, "{woken:?}");
    println!(
        "real Firecracker {version}: a snapshot of {MEMORY_MIB} MiB in {} ms, loaded in {} ms, {}",
        seen.snapshot_us / 1000,
        woken.load_us / 1000,
        load.name()
    );
}
