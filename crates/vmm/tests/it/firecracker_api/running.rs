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
    Action, Balloon, BalloonStatisticsUpdate, BalloonUpdate, BootSource, Drive, DriveUpdate, Entropy,
    Feature, GetBalloon, GetBalloonStatistics, GetInstance, GetMmds, GetVmConfig, InstanceState, Mac,
    MachineConfig, MetricsFile, MmdsConfig, MmdsContents, NetworkInterface, NetworkInterfaceUpdate,
    NetworkOverride, PutMmds, RateLimiter, Request, SetState, SnapshotCreate, SnapshotLoad, SnapshotType,
    TokenBucket, Vsock, VsockOverride,
};
use serde_json::json;

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
    let off = RateLimiter { bandwidth: Some(TokenBucket::OFF), ops: Some(TokenBucket::OFF) };
    let path_on_host = Some(real.file("other.img", 2 << 20));
    real.done(&DriveUpdate { drive_id: "scratch".into(), path_on_host, rate_limiter: None }).await;
    let limits = RateLimiter { bandwidth: None, ops: Some(TokenBucket::per_second(100)) };
    real.done(&DriveUpdate { drive_id: "root".into(), path_on_host: None, rate_limiter: Some(limits) }).await;
    real.done(&NetworkInterfaceUpdate {
        iface_id: "eth0".into(),
        rx_rate_limiter: Some(off),
        tx_rate_limiter: None,
    })
    .await;
    let seen = real.done(&GetVmConfig).await;
    let drive = |id: &str| seen.drives.iter().find(|drive| drive.drive_id == id).unwrap();
    assert_eq!(drive("scratch").path_on_host, "other.img");
    assert_eq!(drive("root").rate_limiter, Some(limits));
    assert_eq!(
        (seen.network_interfaces[0].rx_rate_limiter, seen.network_interfaces[0].guest_mac),
        (None, Some(Mac([6, 0, 0, 0, 0, 1])))
    );
    assert_eq!(seen.network_interfaces[0].tx_rate_limiter, Some(RateLimiter::mbit(100)));

    real.done(&BalloonStatisticsUpdate { stats_polling_interval_s: 5 }).await;
    // The guest's driver may not be there yet; Firecracker then says so.
    let _ = real.client.send(&BalloonUpdate { amount_mib: 16 }).await;
    let statistics = real.done(&GetBalloonStatistics).await;
    assert!(statistics.target_mib <= 16, "{statistics:?}");
    assert!(real.refusal(&BalloonUpdate { amount_mib: MEMORY_MIB * 2 }).await.len() > 5);
    assert_eq!(real.done(&GetBalloon).await.stats_polling_interval_s, 5);

    let tree = MmdsContents(json!({"latest": {"meta-data": {"hostname": "a"}}}).as_object().unwrap().clone());
    real.done(&PutMmds(tree.clone())).await;
    assert_eq!(real.done(&GetMmds).await, tree);
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
    template.done(&MetricsFile { metrics_path: "metrics".into() }).await;
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
    clone.done(&MetricsFile { metrics_path: "metrics".into() }).await;
    let mut load = SnapshotLoad::new("state", "memory");
    load.network_overrides = vec![NetworkOverride { iface_id: "eth0".into(), host_dev_name: "fa1".into() }];
    if version.has(Feature::VsockOverride) {
        load.vsock_override = Some(VsockOverride { uds_path: "w.sock".into() });
        load.clock_realtime = true;
    }
    clone.done(&load).await;
    assert_eq!(clone.done(&GetInstance).await.state, InstanceState::Paused);
    let path_on_host = Some(clone.file("own.img", 2 << 20));
    clone.done(&DriveUpdate { drive_id: "scratch".into(), path_on_host, rate_limiter: None }).await;
    clone.done(&SetState::Resumed).await;
    assert_eq!(clone.done(&GetInstance).await.state, InstanceState::Running);
    let config = clone.done(&GetVmConfig).await;
    assert_eq!(config.network_interfaces[0].host_dev_name, "fa1");
    if version.has(Feature::VsockOverride) {
        assert_eq!(config.vsock.unwrap().uds_path, "w.sock");
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
