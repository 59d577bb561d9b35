//! A real Firecracker, when `FIREACTIONS_FIRECRACKER_BIN` names one, and the stand-in for it, of which the same is
//! expected. What is asked here needs no KVM: nothing is started.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Command;

use fireactions_model::MmdsVersion;
use fireactions_vmm::firecracker::api::log::{Level, LogLine};
use fireactions_vmm::firecracker::api::{
    Action, Balloon, BalloonUpdate, BootSource, Drive, Entropy, Feature, GetInstance, HugePages,
    InstanceState, Mac, MachineConfig, MmdsConfig, MmdsContents, NetworkInterface, PutMmds, RateLimiter,
    SetState, SnapshotCreate, SnapshotLoad, SnapshotType, TokenBucket, Vsock, VsockOverride,
};
use serde_json::json;

use crate::firecracker_api::asked::{Get, Patch, Put};
use crate::firecracker_api::process::Real;

async fn start(program: PathBuf) -> Real {
    let mut command = Command::new(program);
    command.args(["--id", "vm1"]);
    Real::start(command).await
}

/// Each of these is asked of both.
macro_rules! both {
    ($($test:ident),* $(,)?) => {
        mod firecracker {
            $(#[tokio::test]
            async fn $test() {
                let Some(program) = crate::firecracker_api::process::program(concat!("firecracker::", stringify!($test))) else { return };
                super::$test(&super::start(program).await).await;
            })*
        }

        mod stand_in {
            use fireactions_testkit::standin;
            $(#[tokio::test]
            async fn $test() {
                super::$test(&super::start(standin::firecracker(standin::Guest::Played)).await).await;
            })*
        }
    };
}

both! {
    it_is_found_and_says_what_it_is,
    a_machine_can_be_described_to_it,
    refusals_are_its_own_words,
    a_snapshot_load_with_every_field_is_understood,
    the_metadata_can_be_set_changed_and_read,
    its_log_and_metrics_are_read,
}

async fn it_is_found_and_says_what_it_is(real: &Real) {
    let info = real.client.send(&GetInstance).await.unwrap();
    assert_eq!((info.app_name.as_str(), info.id.as_str()), ("Firecracker", "vm1"));
    assert_eq!(info.state, InstanceState::NotStarted);
    assert_eq!(info.vmm_version.parse(), Ok(real.client.version()));
    println!("Firecracker {} answers", info.vmm_version);
}

async fn a_machine_can_be_described_to_it(real: &Real) {
    let kernel = real.file("kernel", 4096);
    let initrd = real.file("initrd", 4096);
    let boot = BootSource {
        kernel_image_path: kernel,
        initrd_path: Some(initrd),
        boot_args: Some("reboot=k 8250.nr_uarts=0".into()),
    };
    real.done(&boot).await;
    let mut machine = MachineConfig::new(2, 256);
    machine.track_dirty_pages = true;
    if real.client.version().has(Feature::HugePages) {
        machine.huge_pages = Some(HugePages::None);
    }
    real.done(&machine).await;
    real.done(&Patch("/machine-config", json!({"mem_size_mib": 512}))).await;
    let seen = real.done(&Get("/machine-config")).await;
    assert_eq!((&seen["vcpu_count"], &seen["mem_size_mib"]), (&json!(2), &json!(512)), "{seen}");
    assert_eq!(seen["track_dirty_pages"], true, "{seen}");

    let mut root = Drive::new("root", real.file("root.img", 1 << 20), true);
    root.rate_limiter =
        Some(RateLimiter { bandwidth: Some(TokenBucket::per_second(1 << 20)), ops: Some(TokenBucket::OFF) });
    real.done(&root).await;
    real.done(&Drive::new("scratch", real.file("scratch.img", 1 << 20), false)).await;
    real.done(&Vsock { guest_cid: 3, uds_path: "v.sock".into() }).await;
    real.done(&Entropy::default()).await;
    let reporting = real.client.version().has(Feature::FreePageReporting);
    let balloon = Balloon {
        deflate_on_oom: true,
        stats_polling_interval_s: 1,
        free_page_reporting: reporting,
        ..Balloon::default()
    };
    real.done(&balloon).await;
    let seen = real.done(&Get("/balloon")).await;
    assert_eq!(
        (&seen["deflate_on_oom"], &seen["stats_polling_interval_s"]),
        (&json!(true), &json!(1)),
        "{seen}"
    );
    let register = json!({"register": "ecx", "bitmap": format!("0b{}0", "x".repeat(31))});
    let leaf = json!({"leaf": "0x1", "subleaf": "0x0", "flags": 0, "modifiers": [register]});
    real.done(&Put("/cpu-config", json!({"cpuid_modifiers": [leaf]}))).await;

    let config = real.done(&Get("/vm/config")).await;
    assert_eq!(config["boot-source"], serde_json::to_value(&boot).unwrap());
    let drives = config["drives"].as_array().unwrap();
    assert_eq!((drives.len(), &drives[0]["path_on_host"]), (2, &json!("root.img")), "{config}");
    let limit = serde_json::to_value(root.rate_limiter.unwrap().bandwidth.unwrap()).unwrap();
    for field in ["size", "refill_time"] {
        assert_eq!(drives[0]["rate_limiter"]["bandwidth"][field], limit[field], "{config}");
    }
    assert!(drives[0]["rate_limiter"]["ops"].is_null(), "{config}");
    let vsock = &config["vsock"];
    assert_eq!((&vsock["guest_cid"], &vsock["uds_path"]), (&json!(3), &json!("v.sock")), "{config}");
    for part in ["entropy", "balloon", "machine-config"] {
        assert!(config[part].is_object(), "{config}");
    }
}

async fn refusals_are_its_own_words(real: &Real) {
    let missing =
        BootSource { kernel_image_path: "no-such-kernel".into(), initrd_path: None, boot_args: None };
    assert!(real.refusal(&missing).await.contains("No such file"));
    assert!(real.refusal(&Drive::new("root", "no-such-image", true)).await.contains("No such file"));
    assert!(real.refusal(&SetState::Paused).await.contains("not supported before"));
    let create = SnapshotCreate {
        snapshot_path: "state".into(),
        mem_file_path: "memory".into(),
        snapshot_type: SnapshotType::Full,
    };
    assert!(real.refusal(&create).await.contains("not supported before"));
    let update = Patch("/drives/root", json!({"drive_id": "root", "path_on_host": "x"}));
    assert!(real.refusal(&update).await.contains("not supported before"));
    assert!(real.refusal(&BalloonUpdate { amount_mib: 1 }).await.contains("not supported before"));
    assert_eq!(real.done(&Get("/mmds")).await, json!({}));
    assert!(!real.refusal(&Action::InstanceStart).await.is_empty());
    let tap = NetworkInterface {
        iface_id: "eth0".into(),
        host_dev_name: "no/such/tap".into(),
        guest_mac: Some(Mac([6, 0, 0, 0, 0, 1])),
        mtu: real.client.version().has(Feature::NetworkMtu).then_some(1500),
        rx_rate_limiter: Some(RateLimiter::mbit(100)),
        tx_rate_limiter: Some(RateLimiter::mbit(100)),
    };
    assert!(!real.refusal(&tap).await.is_empty());
    let config = MmdsConfig {
        version: MmdsVersion::V2,
        network_interfaces: vec!["eth0".into()],
        ipv4_address: Some([169, 254, 169, 254].into()),
        imds_compat: real.client.version().has(Feature::ImdsCompat),
    };
    assert!(real.refusal(&config).await.contains("does not correspond to any existing network interface"));
}

async fn a_snapshot_load_with_every_field_is_understood(real: &Real) {
    let mut load = SnapshotLoad::new("no-such-state", "no-such-memory");
    load.resume_vm = true;
    if real.client.version().has(Feature::VsockOverride) {
        load.vsock_override = Some(VsockOverride { uds_path: "v.sock".into() });
        load.clock_realtime = true;
    }
    // The file is missing; an unknown field would have been refused earlier and in other words.
    let fault = real.refusal(&load).await;
    assert!(fault.contains("No such file"), "{fault}");
}

async fn the_metadata_can_be_set_changed_and_read(real: &Real) {
    let contents = |value: serde_json::Value| MmdsContents(value.as_object().unwrap().clone());
    real.done(&PutMmds(contents(json!({"latest": {"meta-data": {"hostname": "a", "gone": "b"}}})))).await;
    let change = json!({"latest": {"meta-data": {"hostname": "c", "gone": null}}});
    real.done(&Patch("/mmds", change)).await;
    let seen = real.done(&Get("/mmds")).await;
    assert_eq!(seen, json!({"latest": {"meta-data": {"hostname": "c"}}}));
    // As much as it takes, to the byte.
    let full = json!({"x": "y".repeat(51_200 - r#"{"x":""}"#.len())});
    assert_eq!(full.to_string().len(), 51_200);
    real.done(&PutMmds(contents(full))).await;
}

async fn its_log_and_metrics_are_read(real: &Real) {
    let pipe = |name: &str| {
        let path = real.dir.path().join(name);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap()
    };
    let (mut log, mut metrics) = (pipe("log"), pipe("metrics"));
    let logger = json!({"log_path": "log", "level": "Warning", "show_level": true, "show_log_origin": true});
    real.done(&Put("/logger", logger)).await;
    real.done(&Put("/metrics", json!({"metrics_path": "metrics"}))).await;
    real.refusal(&Drive::new("root", "no-such-image", true)).await;
    let fault = real.refusal(&Action::FlushMetrics).await;
    assert!(fault.contains("not supported before"), "{fault}");

    let mut text = vec![0; 65_536];
    let length = log.read(&mut text).unwrap();
    let lines: Vec<LogLine> = String::from_utf8_lossy(&text[..length]).lines().map(LogLine::parse).collect();
    let refused =
        lines.iter().find(|line| line.message.contains("no-such-image")).expect("the refusal is logged");
    assert_eq!((refused.level, refused.thread.as_str()), (Some(Level::Error), "fc_api"));
    // Before the start it writes none.
    assert!(metrics.read(&mut text).is_err());
}
