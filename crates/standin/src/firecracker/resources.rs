//! What was configured before the start, each part checked when it is given, as Firecracker does.

use std::fs::{File, OpenOptions};
use std::net::Ipv4Addr;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::config::{Balloon, BootSource, Drive, Entropy, Machine, MachineUpdate, Mmds, Nic, Vsock};
use super::cpu::CpuConfig;
use super::inside::{host_path, is_jailed};
use super::mmds::Shared;
use super::tap;
use super::vsock::Listener;

/// Every configured part. It is also what a snapshot keeps of them.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
pub(crate) struct Config {
    pub(crate) machine: Machine,
    pub(crate) boot: Option<BootSource>,
    pub(crate) drives: Vec<Drive>,
    pub(crate) nics: Vec<Nic>,
    pub(crate) vsock: Option<Vsock>,
    pub(crate) mmds: Option<Mmds>,
    pub(crate) entropy: Option<Entropy>,
    pub(crate) balloon: Option<Balloon>,
    /// Part of no answer, as with the real one.
    pub(crate) cpu: Option<CpuConfig>,
}

/// The parts and what is open of them.
#[derive(Debug, Default)]
pub(crate) struct Resources {
    pub(crate) config: Config,
    /// One for each network card.
    pub(crate) taps: Vec<File>,
    pub(crate) vsock: Option<Listener>,
    /// What the guest may read.
    pub(crate) metadata: Shared,
}

/// Devices that Firecracker has room for without PCI.
const DEVICES_MAX: usize = 17;

impl Resources {
    pub(crate) fn set_boot_source(&mut self, boot: BootSource) -> Result<(), String> {
        File::open(host_path(&boot.kernel_image_path))
            .map_err(|error| format!("Boot source error: The kernel file cannot be opened: {error}"))?;
        if let Some(initrd) = &boot.initrd_path {
            File::open(host_path(initrd)).map_err(|error| {
                format!(
                    "Boot source error: The initrd file cannot be opened due to invalid path or invalid permissions. \
                     {error}"
                )
            })?;
        }
        let line = boot.boot_args.as_deref().unwrap_or_default();
        if line.len() >= 2048 || !line.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            let why = if line.len() >= 2048 { "command line would overflow" } else { "invalid ASCII" };
            return Err(format!("Boot source error: The kernel command line is invalid: {why}"));
        }
        self.config.boot = Some(boot);
        Ok(())
    }

    pub(crate) fn set_drive(&mut self, drive: Drive) -> Result<(), String> {
        let drives = &mut self.config.drives;
        let position = drives.iter().position(|other| other.drive_id == drive.drive_id);
        let has_root = drives.first().is_some_and(|first| first.is_root_device);
        if drive.is_root_device && has_root && position != Some(0) {
            return Err("Drive config error: A root block device already exists!".to_owned());
        }
        open_drive(&drive)
            .map_err(|why| format!("Drive config error: Unable to create the virtio block device: {why}"))?;
        let root = drive.is_root_device;
        match position {
            None if root => drives.insert(0, drive),
            None => drives.push(drive),
            Some(index) => {
                drives[index] = drive;
                if root {
                    drives.swap(0, index);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn set_nic(&mut self, nic: Nic) -> Result<(), String> {
        let nics = &mut self.config.nics;
        let taken = |other: &Nic| other.guest_mac == nic.guest_mac && other.iface_id != nic.iface_id;
        if let Some(mac) = nic.guest_mac.clone().filter(|_| nics.iter().any(taken)) {
            return Err(format!(
                "Network config error: The MAC address is already in use: {}",
                String::from(mac)
            ));
        }
        if let Some(index) = nics.iter().position(|other| other.iface_id == nic.iface_id) {
            nics.swap_remove(index);
            self.taps.swap_remove(index);
        }
        let failed =
            |why: String| format!("Network config error: Could not create the network device: {why}");
        if let Some(mtu) = nic.mtu.filter(|mtu| *mtu < 68) {
            return Err(failed(format!("MTU {mtu} is out of range [68, 65535]")));
        }
        let tap =
            tap::open(&nic.host_dev_name).map_err(|why| failed(format!("Open tap device failed: {why}")))?;
        self.taps.push(tap);
        nics.push(nic);
        Ok(())
    }

    pub(crate) fn update_machine(&mut self, update: &MachineUpdate) -> Result<(), String> {
        let old = &self.config.machine;
        let machine = Machine {
            vcpu_count: update.vcpu_count.unwrap_or(old.vcpu_count),
            mem_size_mib: update.mem_size_mib.unwrap_or(old.mem_size_mib),
            smt: update.smt.unwrap_or(old.smt),
            cpu_template: update.cpu_template.or(old.cpu_template),
            track_dirty_pages: update.track_dirty_pages.unwrap_or(old.track_dirty_pages),
            huge_pages: update.huge_pages.unwrap_or(old.huge_pages),
        };
        let vcpus = machine.vcpu_count;
        if vcpus == 0 || vcpus > 32 || (machine.smt && vcpus > 1 && vcpus % 2 == 1) {
            return Err(
                "Machine config error: The number of vCPUs must be greater than 0, less than 32 and must be \
                        1 or an even number if SMT is enabled."
                    .to_owned(),
            );
        }
        let pages = if machine.huge_pages == super::config::HugePages::None { 1 } else { 2 };
        if machine.mem_size_mib == 0 || !machine.mem_size_mib.is_multiple_of(pages) {
            return Err("Machine config error: The memory size (MiB) is either 0, or not a multiple of the configured \
                        page size."
                .to_owned());
        }
        if self.config.balloon.as_ref().is_some_and(|b| b.amount_mib as usize > machine.mem_size_mib) {
            return Err(
                "Machine config error: The memory size (MiB) is smaller than the previously set balloon \
                        device target size."
                    .to_owned(),
            );
        }
        self.config.machine = machine;
        Ok(())
    }

    pub(crate) fn set_vsock(&mut self, vsock: Vsock) -> Result<(), String> {
        if let Some(old) = self.vsock.take() {
            old.remove();
        }
        let listener = Listener::bind(&host_path(&vsock.uds_path)).map_err(|error| {
            format!(
                "Vsock config error: Cannot create backend for vsock device: Error binding to the host-side Unix \
                 socket: {error}"
            )
        })?;
        self.vsock = Some(listener);
        self.config.vsock = Some(vsock);
        Ok(())
    }

    pub(crate) fn set_mmds(&mut self, mmds: Mmds) -> Result<(), String> {
        let problem = if !mmds.ipv4_address.is_none_or(link_local) {
            "The MMDS IPv4 address is not link local."
        } else if mmds.network_interfaces.is_empty() {
            "The list of network interface IDs that allow forwarding MMDS requests is empty."
        } else if !mmds
            .network_interfaces
            .iter()
            .all(|id| self.config.nics.iter().any(|nic| nic.iface_id == *id))
        {
            "The list of network interface IDs provided contains at least one ID that does not correspond to any \
             existing network interface."
        } else {
            self.config.mmds = Some(mmds);
            return Ok(());
        };
        // Firecracker's own spelling.
        Err(format!("MMMDS config error: {problem}"))
    }

    pub(crate) fn set_balloon(&mut self, balloon: Balloon) -> Result<(), String> {
        if balloon.amount_mib as usize > self.config.machine.mem_size_mib {
            return Err("Balloon config error: Amount of pages requested is too large.".to_owned());
        }
        self.config.balloon = Some(balloon);
        Ok(())
    }

    /// What stands in the way of a start.
    pub(crate) fn check_start(&self) -> Result<(), String> {
        let failed = |why: &str| Err(format!("Start microvm error: {why}"));
        let config = &self.config;
        let Some(boot) = &config.boot else {
            return failed("Cannot start microvm without kernel configuration.");
        };
        if !is_kernel(&host_path(&boot.kernel_image_path)) {
            return failed(
                "System configuration error: Cannot load kernel due to invalid memory configuration or invalid kernel \
                 image: Kernel Loader: failed to load ELF kernel image",
            );
        }
        let devices = config.drives.len()
            + config.nics.len()
            + usize::from(config.vsock.is_some())
            + usize::from(config.balloon.is_some())
            + usize::from(config.entropy.is_some());
        if devices > DEVICES_MAX {
            return failed(
                "Could not attach device: MMIO transport error: Failed to allocate requested resource",
            );
        }
        Ok(())
    }

    /// As `GET /vm/config` shows it.
    pub(crate) fn shown(&self) -> Value {
        let config = &self.config;
        let boot = config.boot.as_ref().map_or_else(
            || json!({"kernel_image_path": "", "initrd_path": null, "boot_args": null}),
            |boot| json!(boot),
        );
        json!({
            "balloon": config.balloon,
            "drives": config.drives,
            "boot-source": boot,
            "cpu-config": null,
            "logger": null,
            "machine-config": config.machine,
            "metrics": null,
            "mmds-config": config.mmds,
            "network-interfaces": config.nics,
            "vsock": config.vsock,
            "entropy": config.entropy,
            "pmem": [],
            "memory-hotplug": null,
        })
    }
}

/// Nobody's guest runs under KVM here, but the device must be there for the jailed user, as for the real one. A host without KVM
/// has no driver behind it, and that is all that may be wrong.
pub(crate) fn check_kvm() -> Result<(), String> {
    use std::io::ErrorKind::{NotFound, PermissionDenied};
    if !is_jailed() {
        return Ok(());
    }
    match OpenOptions::new().read(true).write(true).open(host_path("/dev/kvm")) {
        Err(error) if [NotFound, PermissionDenied].contains(&error.kind()) => Err(format!(
            "Kvm error: Error creating KVM object: {error} Make sure the user launching the firecracker process is configured \
             on the /dev/kvm file's ACL."
        )),
        _ => Ok(()),
    }
}

/// Opens the file behind a drive, which must be there. The error is the end of Firecracker's sentence.
pub(crate) fn open_drive(drive: &Drive) -> Result<(), String> {
    let (Some(path), None) = (&drive.path_on_host, &drive.socket) else {
        return Err("Invalid block config.".to_owned());
    };
    let write = !drive.is_read_only.unwrap_or(false);
    let opened = OpenOptions::new().read(true).write(write).open(host_path(path));
    opened
        .map(drop)
        .map_err(|error| format!("Virtio backend error: Error manipulating the backing file: {error} {path}"))
}

fn link_local(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    (first, second) == (169, 254) && (1..=254).contains(&third)
}

/// An ELF file, or a Linux kernel with a boot header.
fn is_kernel(path: &Path) -> bool {
    use std::os::unix::fs::FileExt;
    let Ok(file) = File::open(path) else { return false };
    let mut magic = [0; 4];
    let mut at = |offset| file.read_exact_at(&mut magic, offset).is_ok().then_some(magic);
    at(0) == Some(*b"\x7fELF") || at(0x202) == Some(*b"HdrS")
}
