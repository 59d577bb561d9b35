//! What Firecracker is asked for before a guest runs.

use fireactions_model::{DiskLimits, HugePages as HugePagesWanted};
use serde_json::Value;

use super::api::{
    Action, ApiError, Balloon, BootSource, Client, CpuTemplate, Drive, Entropy, Feature, HugePages, Mac,
    MachineConfig, MmdsConfig, MmdsContents, NetworkInterface, NetworkOverride, PutMmds, RateLimiter,
    Request, SetState, SnapshotLoad, TokenBucket, Vsock,
};
use super::names::{INITRD, KERNEL, MEMORY, STATE, VSOCK, image};
use crate::{Start, VmSpec};

/// The guest's address on a socket that leads to this host alone, so every guest has the same.
const GUEST_CID: u32 = 3;

/// Seconds between two looks of the guest at its own memory, each of which wakes it. The balloon's size is known at any time.
const STATISTICS_INTERVAL: u16 = 60;

/// Builds the machine, up to its start.
pub(crate) async fn build(client: &Client, spec: &VmSpec, kernel_line: String) -> Result<(), ApiError> {
    client.send(&machine_config(spec)?).await?;
    let source = BootSource {
        kernel_image_path: KERNEL.to_owned(),
        initrd_path: Some(INITRD.to_owned()),
        boot_args: Some(kernel_line),
    };
    client.send(&source).await?;
    for (index, drive) in spec.drives.iter().enumerate() {
        let mut request = Drive::new(format!("drive{index}"), image(&drive.id), drive.read_only);
        request.rate_limiter = disk_limiter(spec.hardware.disk_limits).filter(|_| !drive.read_only);
        client.send(&request).await?;
    }
    for (index, nic) in spec.nics.iter().enumerate() {
        let limiter = nic.bandwidth_mbit.map(RateLimiter::mbit);
        let request = NetworkInterface {
            iface_id: card(index),
            host_dev_name: nic.tap.clone(),
            guest_mac: Some(Mac(nic.mac)),
            mtu: None,
            rx_rate_limiter: limiter,
            tx_rate_limiter: limiter,
        };
        client.send(&request).await?;
    }
    client.send(&Vsock { guest_cid: GUEST_CID, uds_path: VSOCK.to_owned() }).await?;
    client.send(&Entropy::default()).await?;
    let balloon = Balloon {
        amount_mib: 0,
        deflate_on_oom: true,
        stats_polling_interval_s: STATISTICS_INTERVAL,
        free_page_reporting: client.version().has(Feature::FreePageReporting),
        free_page_hinting: false,
    };
    client.send(&balloon).await?;
    if let Some(metadata) = spec.metadata.as_ref().filter(|_| !spec.nics.is_empty()) {
        let config = MmdsConfig {
            version: metadata.version,
            network_interfaces: (0..spec.nics.len()).map(card).collect(),
            ipv4_address: None,
            imds_compat: false,
        };
        client.send(&config).await?;
        client.send(&contents(&metadata.data)?).await?;
    }
    Ok(())
}

/// Starts the new machine, or resumes the loaded one: from here on there is a guest.
pub(crate) async fn start(client: &Client, how: &Start) -> Result<(), ApiError> {
    match how {
        Start::Boot | Start::Template(_) => client.send(&Action::InstanceStart).await,
        Start::Restore(_) => client.send(&SetState::Resumed).await,
    }
}

/// Loads the machine as a clone of the template whose files are in its jail. Drives and sockets have the same names
/// in every jail, so only the taps are others.
pub(crate) async fn load(client: &Client, spec: &VmSpec) -> Result<(), ApiError> {
    let taps = spec.nics.iter().enumerate();
    let load = SnapshotLoad {
        network_overrides: taps
            .map(|(index, nic)| NetworkOverride { iface_id: card(index), host_dev_name: nic.tap.clone() })
            .collect(),
        clock_realtime: client.version().has(Feature::ClockRealtime),
        ..SnapshotLoad::new(STATE, MEMORY)
    };
    client.send(&load).await?;
    // The service is as the template's was, without its content.
    if let Some(metadata) = spec.metadata.as_ref().filter(|_| !spec.nics.is_empty()) {
        client.send(&contents(&metadata.data)?).await?;
    }
    Ok(())
}

/// The metadata service's new content.
pub(crate) fn contents(data: &Value) -> Result<PutMmds, ApiError> {
    match data {
        Value::Object(tree) => Ok(PutMmds(MmdsContents(tree.clone()))),
        _ => Err(ApiError::Invalid {
            request: "PUT /mmds".to_owned(),
            reason: "the metadata is not a JSON object".to_owned(),
        }),
    }
}

fn card(index: usize) -> String {
    format!("net{index}")
}

fn machine_config(spec: &VmSpec) -> Result<MachineConfig, ApiError> {
    let mut config = MachineConfig::new(spec.vcpus, spec.memory_mib);
    config.huge_pages = match spec.hardware.huge_pages {
        HugePagesWanted::None => None,
        HugePagesWanted::Transparent => Some(HugePages::Transparent),
        HugePagesWanted::Hugetlbfs => Some(HugePages::Hugetlbfs),
    };
    if let Some(name) = &spec.hardware.cpu_template {
        let template: CpuTemplate =
            serde_json::from_value(Value::String(name.clone())).map_err(|_| ApiError::Invalid {
                request: format!("{} {}", MachineConfig::METHOD.name(), config.path()),
                reason: format!("'{name}' is not a CPU template of Firecracker; examples are T2S and T2A"),
            })?;
        config.cpu_template = Some(template);
    }
    Ok(config)
}

fn disk_limiter(limits: DiskLimits) -> Option<RateLimiter> {
    let limiter = RateLimiter {
        bandwidth: limits.mib_per_second.map(|mib| TokenBucket::per_second(u64::from(mib) << 20)),
        ops: limits.iops.map(|iops| TokenBucket::per_second(u64::from(iops))),
    };
    (limiter != RateLimiter::default()).then_some(limiter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::tests::spec;

    #[test]
    fn hardware_becomes_firecrackers_words() {
        let mut spec = spec();
        assert_eq!(machine_config(&spec).unwrap(), MachineConfig::new(2, 512));
        spec.hardware.cpu_template = Some("T2S".to_owned());
        spec.hardware.huge_pages = HugePagesWanted::Hugetlbfs;
        let config = machine_config(&spec).unwrap();
        assert_eq!(
            (config.cpu_template, config.huge_pages),
            (Some(CpuTemplate::T2S), Some(HugePages::Hugetlbfs))
        );
        spec.hardware.cpu_template = Some("T9".to_owned());
        let error = machine_config(&spec).unwrap_err().to_string();
        assert!(
            error.starts_with("PUT /machine-config cannot be requested: 'T9' is not a CPU template"),
            "{error}"
        );
        assert_eq!(disk_limiter(DiskLimits::default()), None);
        let limits = DiskLimits { mib_per_second: Some(10), iops: None };
        let limiter = disk_limiter(limits).unwrap();
        assert_eq!((limiter.bandwidth.unwrap().size, limiter.ops), (1 << 20, None));
        assert!(contents(&Value::Null).is_err());
    }
}
