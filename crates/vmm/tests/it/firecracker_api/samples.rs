//! Every request that the client can send, with every field and every choice of each.

use std::fmt::Debug;

use async_trait::async_trait;
use fireactions_model::MmdsVersion;
use fireactions_vmm::firecracker::api::{
    Action, ApiError, Balloon, BalloonUpdate, BootSource, CacheType, Client, CpuTemplate, Drive, Entropy,
    Feature, GetBalloonStatistics, GetInstance, GetVersion, HugePages, IoEngine, Mac, MachineConfig,
    MemoryBackend, MmdsConfig, MmdsContents, NetworkInterface, NetworkOverride, PutMmds, RateLimiter,
    Request, SetState, SnapshotCreate, SnapshotHugePages, SnapshotLoad, SnapshotType, TokenBucket, Vsock,
    VsockOverride,
};
use serde_json::json;

/// A request of any type.
#[async_trait(?Send)]
pub(crate) trait Sample {
    /// Method and path.
    fn name(&self) -> String;
    /// Sends it; a good answer as it is shown for debugging.
    async fn send(&self, client: &Client) -> Result<String, ApiError>;
}

#[async_trait(?Send)]
impl<R: Request<Answer: Debug>> Sample for R {
    fn name(&self) -> String {
        Request::name(self)
    }

    async fn send(&self, client: &Client) -> Result<String, ApiError> {
        Ok(format!("{:?}", client.send(self).await?))
    }
}

const TEMPLATES: [CpuTemplate; 7] = [
    CpuTemplate::C3,
    CpuTemplate::T2,
    CpuTemplate::T2S,
    CpuTemplate::T2CL,
    CpuTemplate::T2A,
    CpuTemplate::V1N1,
    CpuTemplate::None,
];

const SNAPSHOT_PAGES: [SnapshotHugePages; 4] = [
    SnapshotHugePages::Snapshot,
    SnapshotHugePages::None,
    SnapshotHugePages::Transparent,
    SnapshotHugePages::Hugetlbfs,
];

type Samples = Vec<Box<dyn Sample>>;

fn limiter() -> RateLimiter {
    let bucket = TokenBucket { size: i64::MAX as u64, one_time_burst: Some(1), refill_time: 100 };
    RateLimiter { bandwidth: Some(bucket), ops: Some(TokenBucket::OFF) }
}

fn contents() -> MmdsContents {
    let tree =
        json!({"latest": {"meta-data": {"fireactions": {"hostname": "a"}}, "user-data": "#cloud-config"}});
    MmdsContents(tree.as_object().unwrap().clone())
}

/// All of them.
pub(crate) fn all() -> Samples {
    let mut all: Samples = vec![
        Box::new(GetInstance),
        Box::new(GetVersion),
        Box::new(GetBalloonStatistics),
        Box::new(Action::InstanceStart),
        Box::new(Action::FlushMetrics),
        Box::new(Action::SendCtrlAltDel),
        Box::new(SetState::Paused),
        Box::new(SetState::Resumed),
    ];
    machine(&mut all);
    devices(&mut all);
    snapshots(&mut all);
    all.extend(gated().into_iter().map(|(_, sample)| sample));
    all
}

fn machine(all: &mut Samples) {
    let kernel = "kernel".to_owned();
    all.push(Box::new(BootSource { kernel_image_path: kernel.clone(), initrd_path: None, boot_args: None }));
    all.push(Box::new(BootSource {
        kernel_image_path: kernel,
        initrd_path: Some("initrd".into()),
        boot_args: Some("reboot=k".into()),
    }));
    all.push(Box::new(MachineConfig::new(1, 128)));
    for template in TEMPLATES {
        let mut machine = MachineConfig::new(32, 4096);
        machine.cpu_template = Some(template);
        machine.smt = true;
        machine.track_dirty_pages = true;
        machine.huge_pages = Some(HugePages::None);
        all.push(Box::new(machine));
    }
    all.push(Box::new(MmdsConfig {
        version: MmdsVersion::V1,
        network_interfaces: vec!["eth0".into()],
        ipv4_address: None,
        imds_compat: false,
    }));
    all.push(Box::new(MmdsConfig {
        version: MmdsVersion::V2,
        network_interfaces: vec!["eth0".into(), "eth1".into()],
        ipv4_address: Some([169, 254, 169, 254].into()),
        imds_compat: true,
    }));
    all.push(Box::new(PutMmds(contents())));
}

fn devices(all: &mut Samples) {
    all.push(Box::new(Drive::new("scratch", "scratch.img", false)));
    for io_engine in [IoEngine::Sync, IoEngine::Async] {
        let mut drive = Drive::new("root_1", "root.img", true);
        drive.is_root_device = true;
        drive.cache_type = CacheType::Writeback;
        drive.io_engine = Some(io_engine);
        drive.rate_limiter = Some(limiter());
        all.push(Box::new(drive));
    }
    all.push(Box::new(NetworkInterface {
        iface_id: "eth0".into(),
        host_dev_name: "fa1".into(),
        guest_mac: Some(Mac([6, 0, 0xac, 0x10, 0, 2])),
        mtu: None,
        rx_rate_limiter: Some(RateLimiter::mbit(1000)),
        tx_rate_limiter: Some(limiter()),
    }));
    all.push(Box::new(Vsock { guest_cid: 3, uds_path: "v.sock".into() }));
    all.push(Box::new(Entropy::default()));
    all.push(Box::new(Entropy { rate_limiter: Some(limiter()) }));
    all.push(Box::new(Balloon { deflate_on_oom: true, stats_polling_interval_s: 60, ..Balloon::default() }));
    all.push(Box::new(BalloonUpdate { amount_mib: 512 }));
}

fn snapshots(all: &mut Samples) {
    for snapshot_type in [SnapshotType::Full, SnapshotType::Diff] {
        let (snapshot_path, mem_file_path) = ("state".into(), "memory".into());
        all.push(Box::new(SnapshotCreate { snapshot_path, mem_file_path, snapshot_type }));
    }
    all.push(Box::new(SnapshotLoad::new("state", "memory")));
    let mut load = SnapshotLoad::new("state", "memory");
    load.mem_backend = MemoryBackend::Uffd("uffd.sock".into());
    load.resume_vm = true;
    all.push(Box::new(load));
}

/// For every feature that is part of a request, requests that need it and nothing newer.
pub(crate) fn gated() -> Vec<(Feature, Box<dyn Sample>)> {
    fn load(change: impl FnOnce(&mut SnapshotLoad)) -> Box<dyn Sample> {
        let mut load = SnapshotLoad::new("state", "memory");
        change(&mut load);
        Box::new(load)
    }
    let pages = |pages| Box::new(MachineConfig { huge_pages: Some(pages), ..MachineConfig::new(1, 128) });
    let network = NetworkInterface {
        iface_id: "eth0".into(),
        host_dev_name: "fa1".into(),
        guest_mac: None,
        mtu: Some(1500),
        rx_rate_limiter: None,
        tx_rate_limiter: None,
    };
    let mut gated: Vec<(Feature, Box<dyn Sample>)> = vec![
        (Feature::HugePages, pages(HugePages::Hugetlbfs)),
        (Feature::HugePages, pages(HugePages::None)),
        (
            Feature::NetworkOverrides,
            load(|load| {
                let (iface_id, host_dev_name) = ("eth0".into(), "fa2".into());
                load.network_overrides = vec![NetworkOverride { iface_id, host_dev_name }];
            }),
        ),
        (Feature::TrackDirtyPagesOnLoad, load(|load| load.track_dirty_pages = true)),
        (
            Feature::ImdsCompat,
            Box::new(MmdsConfig {
                version: MmdsVersion::V1,
                network_interfaces: vec!["eth0".into()],
                ipv4_address: None,
                imds_compat: true,
            }),
        ),
        (Feature::FreePageReporting, Box::new(Balloon { free_page_reporting: true, ..Balloon::default() })),
        (Feature::FreePageHinting, Box::new(Balloon { free_page_hinting: true, ..Balloon::default() })),
        (
            Feature::VsockOverride,
            load(|load| load.vsock_override = Some(VsockOverride { uds_path: "v.sock".into() })),
        ),
        (Feature::ClockRealtime, load(|load| load.clock_realtime = true)),
        (Feature::NetworkMtu, Box::new(network)),
        (Feature::TransparentHugePages, pages(HugePages::Transparent)),
    ];
    for huge_pages in SNAPSHOT_PAGES {
        gated.push((Feature::SnapshotHugePages, load(|load| load.huge_pages = Some(huge_pages))));
    }
    gated
}
